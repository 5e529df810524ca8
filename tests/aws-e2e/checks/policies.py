"""Writes every identity policy of an expanded template into a file of its own, with its references resolved to plausible ARNs.

    policies.py EXPANDED.json DIRECTORY
"""

import json
import sys
from pathlib import Path

ARNS = {
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:{}",
    "AWS::Lambda::Function": "arn:aws:lambda:us-east-1:123456789012:function:{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:{}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:{}",
}
VALUES = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "ferry",
    "ParameterPath": "/ferry",
    "ParameterKeyArn": "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    "DefaultTask": "photos",
    "EventSenderParameter": "/ferry/credentials/events",
    "ExportCallerParameters": ["/ferry/credentials/laptop"],
    "QueueArn": "arn:aws:sqs:us-east-1:123456789012:large",
    "OtherQueueArns": ["arn:aws:sqs:us-east-1:123456789012:jobs", "arn:aws:sqs:us-east-1:123456789012:dead"],
    "StateBucketArn": "arn:aws:s3:::state",
    "ProgramBucket": "programs",
    "ProgramKey": "ferry",
    "SourceBucketArns": ["arn:aws:s3:::source"],
    "DestinationBucketArns": ["arn:aws:s3:::destination"],
}


class Resolver:
    """Replaces intrinsic functions by what they would become, every condition being true."""

    def __init__(self, template: dict):
        self.resources = template["Resources"]

    def arn(self, name: str) -> str:
        return ARNS[self.resources[name]["Type"]].format(name.lower())

    def substitute(self, text: str) -> str:
        while "${" in text:
            start = text.index("${")
            end = text.index("}", start)
            name = text[start + 2 : end]
            value = self.arn(name.removesuffix(".Arn")) if name.endswith(".Arn") else VALUES[name]
            text = text[:start] + value + text[end + 1 :]
        return text

    def __call__(self, node):
        if isinstance(node, list):
            return [value for value in map(self, node) if value is not None]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            match function:
                case "Ref":
                    if argument == "AWS::NoValue":
                        return None
                    return VALUES[argument] if argument in VALUES else self.arn(argument)
                case "Fn::GetAtt":
                    name = argument.split(".")[0] if isinstance(argument, str) else argument[0]
                    return self.arn(name)
                case "Fn::Sub":
                    return self.substitute(argument)
                case "Fn::If":
                    return self(argument[1])
                case "Fn::Join":
                    return argument[0].join(self(argument[1]))
                case "Fn::Split":
                    return self(argument[1]).split(argument[0])
        return {name: self(value) for name, value in node.items()}


def policies(template: dict):
    resolve = Resolver(template)
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].get("Policies", []):
                document = resolve(policy["PolicyDocument"])
                # `Fn::Join` of a list in a list stays one.
                for statement in document["Statement"]:
                    if isinstance(statement.get("Resource"), list):
                        flat = [each if isinstance(each, list) else [each] for each in statement["Resource"]]
                        statement["Resource"] = sum(flat, [])
                yield f"{name}-{policy['PolicyName']}", document


if __name__ == "__main__":
    path, directory = Path(sys.argv[1]), Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in policies(json.loads(path.read_text())):
        (directory / f"{name}.json").write_text(json.dumps(document, indent=2))
