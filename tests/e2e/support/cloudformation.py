"""Renders a template of CloudFormation as a deployment would, without deploying it.

usage: cloudformation.py TEMPLATE

Standard input: a JSON list of objects with parameters. Standard output: a JSON list with, for each, either
{"refused": [why, ...]}, by the constraints of a parameter or by an assertion of a rule, or
{"resources": {name: resource}, "outputs": {name: value}}, with every function resolved and what a condition
leaves out left out. A reference to something that is left out, or to an element that is not there, is an
error, as it is in CloudFormation.
"""
import json
import re
import sys

import yaml

ACCOUNT, REGION, STACK = "111122223333", "eu-west-1", "secretrail"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/00000000-1111-2222-3333-0a1b2c3d4e5f",
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
}
NOTHING = object()


class Loader(yaml.SafeLoader):
    """Reads the short forms of functions."""


def construct(loader, tag, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


Loader.add_multi_constructor("!", construct)
# A version is a text, not a date.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def kebab(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


class Stack:
    def __init__(self, template, given):
        self.template = template
        self.refused = []
        self.values = self.parameters(given)
        if not self.refused:
            self.check_rules()

    def parameters(self, given):
        declared = self.template["Parameters"]
        for name in given:
            if name not in declared:
                self.refused.append(f"there is no parameter {name}")
        values = {}
        for name, spec in declared.items():
            value = given.get(name, spec.get("Default"))
            if value is None:
                self.refused.append(f"{name} is missing")
                continue
            value = str(value)
            values[name] = value
            allowed = [str(value) for value in spec.get("AllowedValues", [value])]
            pattern = spec.get("AllowedPattern", ".*")
            low, high = spec.get("MinValue"), spec.get("MaxValue")
            if (
                value not in allowed
                or not re.fullmatch(pattern, value)
                or (low is not None and float(value) < low)
                or (high is not None and float(value) > high)
            ):
                self.refused.append(f"{name}: {spec.get('ConstraintDescription', 'out of its constraints')}")
        return values

    def check_rules(self):
        for rule in self.template.get("Rules", {}).values():
            if "RuleCondition" not in rule or self.resolve(rule["RuleCondition"]):
                for assertion in rule["Assertions"]:
                    if not self.resolve(assertion["Assert"]):
                        self.refused.append(" ".join(assertion["AssertDescription"].split()))

    def condition(self, name):
        return self.resolve(self.template["Conditions"][name])

    def exists(self, name):
        resource = self.template["Resources"][name]
        return "Condition" not in resource or self.condition(resource["Condition"])

    def physical(self, name):
        """The name of a resource, and its type."""
        if name not in self.template["Resources"]:
            raise ValueError(f"there is no {name}")
        if not self.exists(name):
            raise ValueError(f"{name} is not made, and something refers to it")
        resource = self.template["Resources"][name]
        properties = resource.get("Properties", {})
        for own in "FunctionName", "LogGroupName", "TopicName", "StateMachineName":
            if resource["Type"] == "AWS::Lambda::EventSourceMapping":
                break
            found = self.resolve(properties.get(own, NOTHING))
            if found is not NOTHING:
                return resource["Type"], found
        return resource["Type"], f"{STACK}-{kebab(name)}"

    def ref(self, name):
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.values:
            return self.values[name]
        kind, physical = self.physical(name)
        if kind == "AWS::SNS::Topic":
            return f"arn:aws:sns:{REGION}:{ACCOUNT}:{physical}"
        if kind == "AWS::SQS::Queue":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{physical}"
        if kind == "AWS::StepFunctions::StateMachine":
            return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{physical}"
        return physical

    def attribute(self, name, attribute):
        kind, physical = self.physical(name)
        if attribute in ("QueueName", "TopicName"):
            return physical
        forms = {
            "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{physical}",
            "AWS::Events::EventBus": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{physical}",
            "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{physical}",
            "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{physical}",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{physical}:*",
            "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{physical}",
            "AWS::Serverless::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{physical}",
        }
        if attribute != "Arn" or kind not in forms:
            raise ValueError(f"no attribute {attribute} of {kind} is known")
        return forms[kind]

    def substitute(self, argument):
        text, own = argument if isinstance(argument, list) else (argument, {})

        def value(match):
            name = match.group(1)
            if name in own:
                return str(self.resolve(own[name]))
            if "." in name:
                return self.attribute(*name.split(".", 1))
            return str(self.ref(name))

        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", value, text)

    def call(self, function, argument):
        if function == "Ref":
            return self.ref(argument)
        if function == "Condition":
            return self.condition(argument)
        if function == "Fn::GetAtt":
            return self.attribute(*argument)
        if function == "Fn::Sub":
            return self.substitute(argument)
        if function == "Fn::If":
            name, then, otherwise = argument
            return self.resolve(then if self.condition(name) else otherwise)
        argument = self.resolve(argument)
        if function == "Fn::Equals":
            return str(argument[0]) == str(argument[1])
        if function == "Fn::Not":
            return not argument[0]
        if function == "Fn::And":
            return all(argument)
        if function == "Fn::Or":
            return any(argument)
        if function == "Fn::Join":
            return argument[0].join(argument[1])
        if function == "Fn::Split":
            return argument[1].split(argument[0])
        if function == "Fn::Select":
            return argument[1][int(argument[0])]
        if function == "Fn::FindInMap":
            return self.template["Mappings"][argument[0]][argument[1]][argument[2]]
        raise ValueError(f"{function} is not known")

    def resolve(self, value):
        if isinstance(value, dict):
            if len(value) == 1:
                (function, argument), = value.items()
                # A resource has a key Condition, too; it is taken out before.
                if function in ("Ref", "Condition") and isinstance(argument, str) or function.startswith("Fn::"):
                    return self.call(function, argument)
            found = {key: self.resolve(inner) for key, inner in value.items()}
            return {key: inner for key, inner in found.items() if inner is not NOTHING}
        if isinstance(value, list):
            found = [self.resolve(inner) for inner in value]
            return [inner for inner in found if inner is not NOTHING]
        return value

    def render(self):
        if self.refused:
            return {"refused": self.refused}
        resources = {}
        for name, resource in self.template["Resources"].items():
            if self.exists(name):
                kept = {key: value for key, value in resource.items() if key not in ("Condition", "Metadata")}
                resources[name] = self.resolve(kept)
        outputs = {}
        for name, output in self.template.get("Outputs", {}).items():
            if "Condition" not in output or self.condition(output["Condition"]):
                outputs[name] = self.resolve(output["Value"])
        return {"resources": resources, "outputs": outputs}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        document = yaml.load(source, Loader)
    json.dump([Stack(document, given).render() for given in json.load(sys.stdin)], sys.stdout)
