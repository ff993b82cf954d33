"""Validates a CSV file: `validate.py FILE MIN_ROWS [PROJECT_DIR]`; exit 1 when it does not hold. Without a directory: ephemeral."""

import os
import sys

import great_expectations as gx
import pandas as pd

sys.path.insert(0, os.environ.get("TRUTH_DIR", "."))
if "TRUTH" in os.environ:
    from truth import here

    here(check="users")
path, least = sys.argv[1], int(sys.argv[2])
project = sys.argv[3] if len(sys.argv) > 3 else None
context = (
    gx.get_context(mode="file", project_root_dir=project)
    if project
    else gx.get_context(mode="ephemeral")
)
data = context.data_sources.add_or_update_pandas("users_source").add_dataframe_asset("users_export")
suite = context.suites.add_or_update(gx.ExpectationSuite(name="users_suite"))
suite.add_expectation(gx.expectations.ExpectColumnValuesToNotBeNull(column="user_id"))
suite.add_expectation(gx.expectations.ExpectTableRowCountToBeBetween(min_value=least))
definition = gx.ValidationDefinition(
    name="users_validation", data=data.add_batch_definition_whole_dataframe("whole"), suite=suite
)
check = gx.Checkpoint(
    name="users_checkpoint",
    validation_definitions=[context.validation_definitions.add_or_update(definition)],
)
result = context.checkpoints.add_or_update(check).run(
    batch_parameters={"dataframe": pd.read_csv(path)}
)
print(result.describe())
sys.exit(0 if result.success else 1)
