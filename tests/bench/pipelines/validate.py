"""Great Expectations over the file that dbt wrote."""

import sys

import great_expectations as gx
import pandas as pd

context = gx.get_context(mode="ephemeral")
frame = pd.read_csv(sys.argv[1])
batch = (
    context.data_sources.add_pandas("p")
    .add_dataframe_asset("a")
    .add_batch_definition_whole_dataframe("b")
    .get_batch({"dataframe": frame})
)
for expectation in (
    gx.expectations.ExpectTableRowCountToEqual(value=400_000),
    gx.expectations.ExpectColumnValuesToNotBeNull(column="name"),
    gx.expectations.ExpectColumnValuesToBeUnique(column="id"),
    gx.expectations.ExpectColumnValuesToBeBetween(column="bucket", min_value=0, max_value=6),
):
    assert batch.validate(expectation).success
