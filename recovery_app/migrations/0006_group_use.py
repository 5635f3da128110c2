from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("recovery_app", "0005_durable_groups"),
    ]

    operations = [
        migrations.AddField(
            model_name="storedgroup",
            name="used_us",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="last used"),
        ),
    ]
