from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("recovery_app", "0006_group_use"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="storedgroup",
            options={
                "default_permissions": ("view", "delete"),
                "permissions": [
                    (
                        "view_storedgroup_messages",
                        "Can view the hidden values of a group's messages",
                    )
                ],
                "verbose_name": "durable group",
                "verbose_name_plural": "durable groups",
            },
        ),
    ]
