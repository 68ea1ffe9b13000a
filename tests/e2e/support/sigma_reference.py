"""Rules of many forms, and what pySigma says that they mean.

    sigma_reference.py FOLDER

Writes each rule to FOLDER/rules and the records to FOLDER/logs/records.json, and prints a JSON object: for each rule its
detection, and the ids of the records that it matches, or `null` where pySigma refuses it. pySigma parses rules, modifiers and
conditions; comparing a value with a field is done here, as the Sigma specification describes it.
"""
import ipaddress
import json
import operator
import pathlib
import re
import sys

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR
from sigma.conditions import ConditionValueExpression
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule
from sigma.types import (
    SigmaBool, SigmaCIDRExpression, SigmaCompareExpression, SigmaExists, SigmaExpansion, SigmaFieldReference, SigmaNull, SigmaNumber,
    SigmaRegularExpression, SigmaString, SpecialChars,
)

RECORDS = [
    {"a": "alpha", "b": {"c": "Beta"}, "n": 5, "ip": "10.0.0.7", "t": True, "l": ["x", "y"]},
    {"a": "ALPHA beta", "b": {"c": "beta gamma"}, "n": 50, "ip": "10.1.0.7", "t": False, "l": []},
    {"a": "al*pha", "b": {"c": None}, "n": 500, "ip": "2001:db8::1", "l": ["alpha", "z"]},
    {"a": "", "b": {}, "n": "5", "e": "AccessDenied", "s": "alpha"},
    {"a": "a?c", "b": {"c": "x\\y"}, "n": -1, "e": None, "s": ""},
    {"a": "abc", "b": {"c": "8080 open"}, "n": 0, "ip": "not an address", "l": [{"k": "v"}, {"k": "w"}]},
    {"a": "line\nbreak", "b": {"c": "gamma"}, "d.e": "dotted", "b2": {"x.y": "inner"}},
    {},
]

SELECTIONS = """
{r.a: alpha}
{r.a: ALPHA}
{r.a: 'al*'}
{r.a: '*pha'}
{r.a: '*ph*'}
{r.a: 'a?c'}
{r.a: 'a\\?c'}
{r.a: 'al\\*pha'}
{r.a: '*'}
{r.a: ''}
{r.a: null}
{r.a: [alpha, abc]}
{r.a: ['al*', abc]}
{r.a: [null, abc]}
{r.a: [null, '']}
{r.e: null}
{r.e: [null, AccessDenied]}
{r.e: ''}
{r.b.c: beta}
{r.b.c: null}
{r.b.c: 'x\\\\y'}
{r.b.c: ['beta*', null]}
{r.n: 5}
{r.n: '5'}
{r.n: [5, 50]}
{r.n: 0}
{r.n: -1}
{r.t: true}
{r.t: false}
{r.l: x}
{r.l: [x, z]}
{r.l.k: v}
{r.d.e: dotted}
{r.b2.x.y: inner}
{r.a|contains: ph}
{r.a|contains: [ph, b]}
{r.a|contains|all: [al, beta]}
{r.a|contains|all: [al, nothing]}
{r.a|startswith: al}
{r.a|startswith: [AL, ab]}
{r.a|endswith: pha}
{r.a|endswith: [pha, beta]}
{r.a|contains: '*'}
{r.a|contains: '\\*'}
{r.a|startswith: 'a?'}
{r.a|cased: alpha}
{r.a|cased: ALPHA}
{r.a|contains|cased: AL}
{r.a|startswith|cased: AL}
{r.a|re: 'al.*a'}
{r.a|re: '^alpha$'}
{r.a|re|i: '^ALPHA$'}
{r.a|re: 'line.break'}
{r.a|re|s: 'line.break'}
{r.a|re|m: '^break$'}
{r.a|re: ['^abc$', '^alpha$']}
{r.a|exists: true}
{r.a|exists: false}
{r.e|exists: true}
{r.e|exists: false}
{r.b.c|exists: true}
{r.n|gt: 5}
{r.n|gte: 5}
{r.n|lt: 5}
{r.n|lte: 0}
{r.n|gt: 4, r.n|lt: 51}
{r.ip|cidr: 10.0.0.0/24}
{r.ip|cidr: [10.0.0.0/24, '2001:db8::/32']}
{r.ip|cidr: 10.0.0.0/8}
{r.s|fieldref: r.a}
{r.a|fieldref: r.a}
{r.a: alpha, r.n: 5}
{r.a: alpha, r.n: 6}
{r.a: [alpha, abc], r.n: [5, 0]}
[{r.a: alpha}, {r.n: 50}]
[{r.a: alpha, r.n: 6}, {r.n: 50}]
[alpha]
[ALPHA, nothing]
['al*ha']
[8080]
['8080 open']
{'|all': [alpha, beta]}
{'|all': [alpha, nothing]}
{'|all': [beta]}
{r.a|base64: alpha}
{r.a|wide: alpha}
{r.a|windash: '-alpha'}
{r.a|contains: null}
{r.a|nonsense: alpha}
{r.n|gt: five}
{r.ip|cidr: 300.0.0.0/8}
{r.a|re: '('}
{r.a|exists: maybe}
"""

CONDITIONS = """
a
not a
a and b
a or b
a and not b
not a and not b
not (a or b)
a or b and c
(a or b) and c
a and (b or c)
not a or not b
1 of them
all of them
any of them
1 of a*
all of a*
1 of a* and b
not 1 of a*
not all of a*
1 of b* or c
all of b* and not c
not (a and (b or not c))
a and a
(((a)))
NOT a AND b
1 of x*
2 of them
a b
a and
"""

NAMED = [
    {"a": "{r.a|contains: al}", "b": "{r.n: [5, 50]}", "c": "{r.t: true}", "a2": "{r.l: x}", "b2": "{r.b.c|contains: gamma}"},
    {"a": "{r.a: null}", "b": "{r.e: [null, x]}", "c": "[alpha, beta]", "a2": "{r.n|exists: true}", "_b": "{r.n: 50}"},
    {"a": "{r.a|startswith: a}", "b": "{'|all': [beta]}", "c": "{r.n|gt: 4}", "a2": "{r.a|re: 'a$'}"},
]


def values(node, path):
    """The values of a field: through keys, keys with dots, and lists."""
    if isinstance(node, list):
        return [found for item in node for found in values(item, path)]
    if not isinstance(node, dict):
        return []
    if path in node:
        return [node[path]]
    for dot in (m.start() for m in re.finditer(r"\.", path)):
        if path[:dot] in node:
            found = values(node[path[:dot]], path[dot + 1:])
            if found:
                return found
    return []


def flat(found):
    return [item for value in found for item in (flat(value) if isinstance(value, list) else [value])]


def texts(node):
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [text for item in node for text in texts(item)]
    return [node] if isinstance(node, str) else []


def pattern(text, whole=True):
    parts = "".join(
        ".*" if part == SpecialChars.WILDCARD_MULTI else "." if part == SpecialChars.WILDCARD_SINGLE else re.escape(str(part))
        for part in text.s)
    cased = type(text).__name__ == "SigmaCasedString"
    return re.compile(f"^(?:{parts})$" if whole else parts, re.S | (0 if cased else re.I))


def as_text(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def equals(value, found, record):
    if isinstance(value, SigmaExists):                  # null is no value, as in a log that leaves the field out
        return any(item is not None for item in found) == bool(value)
    if isinstance(value, SigmaNull):
        return not found or all(item is None for item in found)
    items = [item for item in flat(found) if item is not None]
    if isinstance(value, SigmaString):
        return any(pattern(value).search(as_text(item)) for item in items if not isinstance(item, dict))
    if isinstance(value, SigmaNumber):
        return any(not isinstance(item, (dict, bool)) and as_text(item) == str(value.number) for item in items)
    if isinstance(value, SigmaBool):
        return any(item is value.boolean or as_text(item) == as_text(value.boolean) for item in items if not isinstance(item, dict))
    if isinstance(value, SigmaRegularExpression):
        names = {flag.name for flag in value.flags}
        flags = sum({"IGNORECASE": re.I, "MULTILINE": re.M, "DOTALL": re.S}[name] for name in names)
        return any(re.search(value.regexp.to_plain() if hasattr(value.regexp, "to_plain") else str(value.regexp), item, flags)
                   for item in items if isinstance(item, str))
    if isinstance(value, SigmaCompareExpression):
        test = {"LT": operator.lt, "LTE": operator.le, "GT": operator.gt, "GTE": operator.ge}[value.op.name]
        return any(test(float(item), float(str(value.number))) for item in items
                   if not isinstance(item, (dict, bool)) and re.fullmatch(r"-?[0-9.]+", str(item)))
    if isinstance(value, SigmaCIDRExpression):
        network = ipaddress.ip_network(value.cidr)
        for item in items:
            try:
                if ipaddress.ip_address(item) in network:
                    return True
            except ValueError:
                pass
        return False
    if isinstance(value, SigmaFieldReference):
        others = flat(values(record, value.field))
        return any(as_text(item).lower() == as_text(other).lower() for item in items for other in others)
    if isinstance(value, SigmaExpansion):
        return any(equals(one, found, record) for one in value.values)
    raise NotImplementedError(type(value).__name__)


def holds(node, record):
    if isinstance(node, ConditionAND):
        return all(holds(part, record) for part in node.args)
    if isinstance(node, ConditionOR):
        return any(holds(part, record) for part in node.args)
    if isinstance(node, ConditionNOT):
        return not holds(node.args[0], record)
    if isinstance(node, ConditionFieldEqualsValueExpression):
        return equals(node.value, values(record, node.field), record)
    if isinstance(node, ConditionValueExpression):
        word = node.value if isinstance(node.value, SigmaString) else SigmaString(str(node.value))
        return any(pattern(word, whole=False).search(text) for text in texts(record))
    raise NotImplementedError(type(node).__name__)


def detections():
    for selection in SELECTIONS.strip().split("\n"):
        yield f"  s: {selection}\n  condition: s\n"
    for selection in SELECTIONS.strip().split("\n"):
        yield f"  s: {selection}\n  condition: not s\n"
    for named in NAMED:
        lines = "".join(f"  {name}: {selection}\n" for name, selection in named.items())
        for condition in CONDITIONS.strip().split("\n"):
            yield f"{lines}  condition: {condition}\n"


def main():
    folder = pathlib.Path(sys.argv[1])
    (folder / "rules").mkdir()
    (folder / "logs").mkdir()
    records = [
        {"eventVersion": "1.11", "eventID": f"record-{i}", "eventSource": "iam.amazonaws.com", "eventName": "ListUsers",
         "eventTime": f"2026-03-02T10:00:{i:02d}Z", "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
         "userIdentity": {"type": "Root", "accountId": "111122223333", "arn": "arn:aws:iam::111122223333:root"}, "r": r}
        for i, r in enumerate(RECORDS)]
    (folder / "logs/records.json").write_text(json.dumps({"Records": records}))
    expected = {}
    for number, detection in enumerate(detections()):
        name = f"form-{number:03d}"
        rule = f"title: {name}\nid: {name}\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n{detection}"
        (folder / f"rules/{name}.yml").write_text(rule)
        try:
            parsed = SigmaRule.from_yaml(rule.replace(f"id: {name}\n", ""))
            trees = [condition.parsed for condition in parsed.detection.parsed_condition]
            if None in trees:
                raise ValueError("a condition about nothing")
            matched = [r["eventID"] for r in records if any(holds(tree, r) for tree in trees)]
        except (SigmaError, ValueError):
            matched = None
        expected[name] = {"detection": detection, "matched": matched}
    json.dump(expected, sys.stdout)


main()
