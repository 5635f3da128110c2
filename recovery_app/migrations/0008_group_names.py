from django.db import migrations

_COLUMNS = (("recovery_app_storedgroup", "name"), ("recovery_app_storedmessage", "group"))


def compare_names_exactly(apps, schema_editor):
    """Have MySQL and MariaDB tell names apart by case, accents and trailing spaces, too."""
    connection = schema_editor.connection
    if connection.vendor != "mysql":
        return
    collation = "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
    for table, column in _COLUMNS:
        schema_editor.execute(
            f"ALTER TABLE `{table}` MODIFY `{column}` varchar(255) "
            f"CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL"
        )


class Migration(migrations.Migration):
    dependencies = [("recovery_app", "0007_group_permissions")]

    operations = [
        migrations.RunPython(
            compare_names_exactly,
            migrations.RunPython.noop,
            atomic=False,
            hints={"model_name": "storedgroup"},
        )
    ]
