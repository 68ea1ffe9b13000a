"""Validates OCSF Detection Findings, one on a line of standard input, by the models of py-ocsf-models; prints what is wrong.

The models ask for more than the schema does in four places, where we know nothing to say; these are filled in first.
Whatever a model does not know is dropped from it: a field that is not there any more afterwards is none of the class. Three
fields of the schema are none of the models' (KNOWN); of these, the user is validated by itself.
"""
import json
import sys

from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from py_ocsf_models.objects.user import User

# In the schema's repository: objects/evidences.json and events/findings/detection_finding.json.
KNOWN = ("evidences.actor.user.", "evidences.src_endpoint.ip", "is_alert", "unmapped.")


def users(finding):
    return [evidence["actor"]["user"] for evidence in finding.get("evidences") or [] if "actor" in evidence]


def fill(finding):
    accounts = [finding.get("cloud", {}).get("account"), *(user.get("account") for user in users(finding))]
    for evidence in finding.get("evidences") or []:
        service = evidence.get("api", {}).get("service")
        if service is not None:
            service.setdefault("uid", "-")
            service.setdefault("version", "-")
    for account in filter(None, accounts):
        account.setdefault("name", "-")
    for attack in finding["finding_info"].get("attacks") or []:
        attack["technique"].setdefault("name", "-")


def paths(value, at=()):
    if isinstance(value, dict):
        for key, below in value.items():
            yield from paths(below, (*at, key))
    elif isinstance(value, list):
        for below in value:
            yield from paths(below, at)
    else:
        yield ".".join(at)


def check(of, value, name):
    try:
        model = of.model_validate(value)
    except Exception as error:
        return [f"{name}{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
    kept = set(paths(model.model_dump(mode="json", by_alias=True)))
    return [f"{name}{path}: no such field" for path in set(paths(value)) - kept if not path.startswith(KNOWN)]


wrong, count, people = set(), 0, 0
for line in sys.stdin:
    count += 1
    finding = json.loads(line)
    fill(finding)
    wrong.update(check(DetectionFinding, finding, ""))
    for user in users(finding):
        people += 1
        wrong.update(check(User, user, "user."))
print(json.dumps({"count": count, "users": people, "wrong": sorted(wrong)}))
