"""What a publish tells OpenLineage: the datasets that were read and loaded, their columns, counts and check results.

Used by Airflow's OpenLineage provider when that is installed and switched on; imported only then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    dataset_version_dataset,
    documentation_job,
    output_statistics_output_dataset,
    ownership_job,
    schema_dataset,
)

_SEVERITIES = {"block": "error", "warn": "warn"}


def of_publish(publication: Mapping[str, Any], owner: str, description: str) -> OperatorLineage[Any, Any]:
    """The lineage of one publish, from what its asset's event says."""
    quality = _quality(publication["checks"])
    source = publication["source"]
    inputs = [InputDataset(source["namespace"], source["name"], inputFacets={"dataQualityAssertions": quality})]
    outputs = [_output(publication, target) for target in publication["loaded"]]
    facets: dict[str, Any] = {"documentation": documentation_job.DocumentationJobFacet(description)}
    if owner:
        facets["ownership"] = ownership_job.OwnershipJobFacet([ownership_job.Owner(owner)])
    return OperatorLineage(inputs=inputs, outputs=outputs, job_facets=facets)


def _output(publication: Mapping[str, Any], target: Mapping[str, Any]) -> OutputDataset:
    columns = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in publication["columns"].items()]
    return OutputDataset(
        target["namespace"],
        target["name"],
        facets={
            "schema": schema_dataset.SchemaDatasetFacet(columns),
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(publication["version"]),
        },
        outputFacets={
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=target["rows"], size=target["bytes"]
            )
        },
    )


def _quality(
    checks: Sequence[Mapping[str, Any]],
) -> data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet:
    return data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        [
            data_quality_assertions_dataset.Assertion(
                assertion=check["check"].partition(":")[0],
                success=check["passed"],
                severity=_SEVERITIES.get(check["severity"]),
                description=check["check"],
                expected=str(check["expected"]),
                actual=str(check["observed"]),
            )
            for check in checks
        ]
    )
