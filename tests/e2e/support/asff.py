"""Validates findings of Security Hub, one on a line of standard input, by botocore's model of BatchImportFindings and by the limits
of the format that the model does not have; prints what is wrong.

botocore checks types, names and what is required, but neither the values of enumerations nor lengths.
"""
import json
import sys

import botocore.session
from botocore.validate import ParamValidator

CHARACTERS = {"Title": 256, "Description": 1024, "Id": 512, "GeneratorId": 512}
FIELDS, KEY, VALUE, RESOURCES, BYTES = 50, 128, 2048, 32, 240_000

model = botocore.session.get_session().get_service_model("securityhub")
finding_shape = model.operation_model("BatchImportFindings").input_shape.members["Findings"].member


def enumerations(value, shape, at):
    if shape.type_name == "structure":
        for name, below in value.items():
            if name in shape.members:
                yield from enumerations(below, shape.members[name], f"{at}.{name}")
    elif shape.type_name == "list":
        for below in value:
            yield from enumerations(below, shape.member, at)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{at}: {value}"


def limits(finding):
    for name, most in CHARACTERS.items():
        if not 0 < len(finding.get(name, "")) <= most:
            yield f"{name}: {len(finding.get(name, ''))} characters"
    fields = finding.get("ProductFields", {})
    if len(fields) > FIELDS or any(len(k) > KEY or not 0 < len(v) <= VALUE for k, v in fields.items()):
        yield "ProductFields"
    if not 0 < len(finding.get("Resources", [])) <= RESOURCES:
        yield "Resources"
    if len(json.dumps(finding)) > BYTES:
        yield "too large"


wrong, count = [], 0
for line in sys.stdin:
    finding = json.loads(line)
    count += 1
    report = ParamValidator().validate(finding, finding_shape)
    faults = [report.generate_report()] if report.has_errors() else []
    faults += [*enumerations(finding, finding_shape, "finding"), *limits(finding)]
    if faults:
        wrong.append(faults)
print(json.dumps({"wrong": wrong, "count": count}))
