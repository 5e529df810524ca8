"""Expands the SAM template into plain CloudFormation, as the service would.

Linters accept broken SAM templates as valid (cfn-lint 1.58 no longer expands them), so everything is checked on what this prints.

    expand.py TEMPLATE [BUCKET PREFIX] >EXPANDED.json

BUCKET and PREFIX stand in for where the code will be, as `finder.zip` and so on under the prefix.
"""

import json
import os
import sys
from pathlib import PurePosixPath

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse


def expand(text: str, bucket: str, prefix: str) -> dict:
    template = yaml_parse(text)
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            name = PurePosixPath(properties["CodeUri"]).name
            properties["CodeUri"] = {"Bucket": bucket, "Key": f"{prefix}{name}.zip"}
    return Translator({}, Parser()).translate(template, {})


if __name__ == "__main__":
    # The translator wants to know one; what it writes is the same for all.
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    path, bucket, prefix = (sys.argv[1:] + ["ferry-code", ""])[:3]
    with open(path, encoding="utf-8") as file:
        json.dump(expand(file.read(), bucket, prefix), sys.stdout, indent=2)
