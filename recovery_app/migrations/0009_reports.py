from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("recovery_app", "0008_group_names")]

    operations = [
        migrations.CreateModel(
            name="StoredReport",
            fields=[
                (
                    "uid",
                    models.CharField(
                        max_length=16, primary_key=True, serialize=False, verbose_name="id"
                    ),
                ),
                ("data", models.BinaryField(verbose_name="data")),
                ("expires_us", models.BigIntegerField(verbose_name="expires")),
            ],
            options={
                "verbose_name": "process report",
                "verbose_name_plural": "live pages",
                "default_permissions": ("view",),
            },
        ),
    ]
