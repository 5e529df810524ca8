"""What linters miss: rules of this house that hold for the expanded template.

    invariants.py EXPANDED.json ROOT

Prints every rule that is broken and exits with 1 if any is.
"""

import json
import re
import sys
from pathlib import Path

RETENTION_DAYS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
# X-Ray has no resources to name.
STARRED = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def of_type(template: dict, kind: str):
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def queue_of(mapping: dict) -> str:
    attribute = mapping["EventSourceArn"]["Fn::GetAtt"]
    return attribute.split(".")[0] if isinstance(attribute, str) else attribute[0]


def queues_outlast_their_functions(template):
    """Visibility of at least six times the function's timeout; a window where batches are larger than ten; partial answers."""
    queues, functions = of_type(template, "AWS::SQS::Queue"), of_type(template, "AWS::Lambda::Function")
    mappings = of_type(template, "AWS::Lambda::EventSourceMapping")
    assert mappings, "there is no event source mapping"
    for name, mapping in mappings.items():
        function = functions[mapping["FunctionName"]["Ref"]]
        visibility = queues[queue_of(mapping)]["VisibilityTimeout"]
        assert visibility >= 6 * function["Timeout"], f"{name}: visibility {visibility} s for {function['Timeout']} s"
        if mapping["BatchSize"] > 10:
            assert mapping.get("MaximumBatchingWindowInSeconds", 0) >= 1, f"{name}: a large batch needs a window"
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], f"{name}: partial answers are off"
        assert "MaximumConcurrency" in mapping["ScalingConfig"], f"{name}: nothing bounds its concurrency"


def queues_have_dead_letters(template):
    """Every queue but the last one gives up after five receives or more, and nothing travels in the clear."""
    queues = of_type(template, "AWS::SQS::Queue")
    last = [name for name, queue in queues.items() if "RedrivePolicy" not in queue]
    assert last == ["DeadLetterQueue"], last
    for name, queue in queues.items():
        assert name in last or queue["RedrivePolicy"]["maxReceiveCount"] >= 5, name
        assert queue["SqsManagedSseEnabled"] is True, name
        assert queue["MessageRetentionPeriod"] == 1_209_600, name
    (policy,) = of_type(template, "AWS::SQS::QueuePolicy").values()
    assert {each["Ref"] for each in policy["Queues"]} == set(queues)


def functions_log_where_it_ends(template):
    """Every function writes into a log group of this stack, whose retention is set."""
    groups = of_type(template, "AWS::Logs::LogGroup")
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups, name
        assert function["LoggingConfig"]["LogFormat"] == "JSON", name
    for name, group in groups.items():
        assert "RetentionInDays" in group, name
    allowed = set(template["Parameters"]["LogRetentionDays"]["AllowedValues"])
    assert allowed == RETENTION_DAYS, allowed ^ RETENTION_DAYS


def feeding_functions_may(template):
    """Whoever sends to a queue that feeds it says so; else Lambda ends the chain after some 16 hops."""
    feeding = {each["FunctionName"]["Ref"] for each in of_type(template, "AWS::Lambda::EventSourceMapping").values()}
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        assert name not in feeding or function.get("RecursiveLoop") == "Allow", name


def strangers_are_bounded(template):
    """Whoever has an address for everybody asks who is calling, has a concurrency of its own, and exists only where somebody asked for it."""
    functions, permissions = of_type(template, "AWS::Lambda::Function"), of_type(template, "AWS::Lambda::Permission").values()
    urls = of_type(template, "AWS::Lambda::Url")
    assert set(urls) == {"EventsUrl", "ExportUrl"}, set(urls)
    for name, url in urls.items():
        target = url["TargetFunctionArn"]
        function = target["Fn::GetAtt"][0]
        assert "ReservedConcurrentExecutions" in functions[function], name
        variables = functions[function]["Environment"]["Variables"]
        # The export API has no way to ask nobody; without callers it does not start.
        assert variables.get("FERRY_EVENT_AUTH") == "signature" or "FERRY_EXPORT_CALLERS" in variables, name
        assert template["Resources"][name].get("Condition") == template["Resources"][function].get("Condition") is not None, name
        allowed = {each["Action"]: each for each in permissions if each["FunctionName"] == target}
        assert set(allowed) == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}, f"{name}: {set(allowed)}"
        assert allowed["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == url["AuthType"], name
        assert allowed["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True, name


def secrets_are_their_owners(template):
    """Only the export API writes parameters, and only those of its own; it reads no object but its jobs."""
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for statement in (each for policy in role["Policies"] for each in policy["PolicyDocument"]["Statement"]):
            statement = statement.get("Fn::If", [None, statement])[1]
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            if {"ssm:PutParameter", "ssm:DeleteParameter"} & set(actions):
                assert name == "ExportRole", f"{name}: {actions}"
                assert statement["Resource"]["Fn::Sub"].endswith(":parameter${ParameterPath}/export/*"), statement["Resource"]
            if name == "ExportRole" and any(action.endswith("Object") for action in actions):
                assert statement["Resource"] == {"Fn::Sub": "${StateBucket.Arn}/state/export/*"}, statement["Resource"]


def roles_name_what_they_touch(template):
    """No star for a resource or an action, and every policy has a version."""
    for name, role in of_type(template, "AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role, f"{name}: a managed policy names no resource of ours"
        for policy in role["Policies"]:
            document = policy["PolicyDocument"]
            assert document.get("Version") == "2012-10-17", f"{name}/{policy['PolicyName']}: no version"
            for statement in document["Statement"]:
                statement = statement.get("Fn::If", [None, statement])[1]
                actions = statement["Action"]
                actions = {actions} if isinstance(actions, str) else set(actions)
                assert not any("*" in action for action in actions), f"{name}: {actions}"
                assert statement["Resource"] != "*" or actions <= STARRED, f"{name}: {actions} on everything"


def others_cannot_borrow_our_rights(template):
    """Services that act for somebody are told for whom."""
    scheduler = of_type(template, "AWS::IAM::Role")["SchedulerRole"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert set(scheduler["Condition"]["StringEquals"]) == {"aws:SourceAccount", "aws:SourceArn"}
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for policy in of_type(template, kind).values():
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement["Effect"] == "Allow":
                    assert "aws:SourceAccount" in statement["Condition"]["StringEquals"], statement["Sid"]


def alarms_are_heard(template):
    """Every alarm tells somebody, when it is over, too."""
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    assert len(alarms) >= 10
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] and alarm["OKActions"] and alarm["AlarmDescription"], name


def no_secret_is_a_parameter(template):
    """Parameters and variables hold names; nothing that sounds like a secret is among them."""
    for name, parameter in template["Parameters"].items():
        assert parameter.get("Description"), f"{name} has no description"
        assert not re.search(r"secret|password|token|credential", name, re.I), name
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        for variable in function["Environment"]["Variables"]:
            # A reference to a parameter is none.
            if re.search(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY", variable):
                value = function["Environment"]["Variables"][variable]
                assert str(value.get("Fn::Sub", "") if isinstance(value, dict) else value).startswith("ssm:"), f"{name}: {variable}"


def every_partition_will_do(template):
    """No ARN names a partition, and no service that is called otherwise in another."""
    assert "ec2.amazonaws.com" not in json.dumps(template["Resources"]), "it is ec2.amazonaws.com.cn in China"
    for match in re.finditer(r'"arn:aws[^"$]*"', json.dumps(template["Resources"])):
        raise AssertionError(match.group())


def stacks_do_not_collide(template):
    """Whatever has a name of its own has the stack's in it, or stands under the path that is the stack's; schedules and queues have none."""
    for name, resource in template["Resources"].items():
        for field in ("Name", "DashboardName", "QueueName", "FunctionName", "RoleName", "BucketName"):
            value = resource.get("Properties", {}).get(field)
            if isinstance(value, str) or (isinstance(value, dict) and "Fn::Sub" in value):
                assert "${AWS::StackName}" in str(value) or "${ParameterPath}/" in str(value), f"{name}.{field}: {value}"


def what_is_watched_is_measured(template, root):
    """The dashboard is JSON, and every name of ours that it or an alarm uses is in the one list of metrics."""
    source = (root / "shared/transfer/src/metric.rs").read_text()
    measured = set(re.findall(r'=> "([A-Za-z]+)"', source))
    assert measured, "the list of metrics was not found"
    (dashboard,) = of_type(template, "AWS::CloudWatch::Dashboard").values()
    body = json.loads(re.sub(r"\$\{[^}]+\}", "x", dashboard["DashboardBody"]["Fn::Sub"][0]))
    used = set()
    for widget in body["widgets"]:
        namespace = ""
        for metric in widget["properties"].get("metrics", []):
            namespace = metric[0] if metric[0] not in (".", "...") else namespace
            if namespace == "Ferry" and metric[0] != "...":
                used.add(metric[1])
    for alarm in of_type(template, "AWS::CloudWatch::Alarm").values():
        metrics = [each.get("MetricStat", {}).get("Metric", {}) for each in alarm.get("Metrics", [])] + [alarm]
        used |= {each["MetricName"] for each in metrics if each.get("Namespace") == "Ferry"}
    assert used, "nothing of ours is watched"
    assert used <= measured, f"watched and never measured: {used - measured}"
    watched = {each["MetricName"] for each in of_type(template, "AWS::CloudWatch::Alarm").values() if "MetricName" in each}
    assert {"EventLag", "Url5xxCount", "ApproximateAgeOfOldestMessage"} <= watched, watched


def instances_are_shut(template):
    """Instances answer nobody, give their role's keys only to who asks twice, go down to none, and keep nothing in the clear."""
    for name, group in of_type(template, "AWS::AutoScaling::AutoScalingGroup").items():
        assert int(group["MinSize"]) == 0 and "DesiredCapacity" not in group, name
        spot = group["MixedInstancesPolicy"]["InstancesDistribution"]
        assert spot["OnDemandBaseCapacity"] == spot["OnDemandPercentageAboveBaseCapacity"] == 0, name
        assert any("GroupInServiceInstances" in each["Metrics"] for each in group["MetricsCollection"]), f"{name}: its size is not measured"
    for name, launch in of_type(template, "AWS::EC2::LaunchTemplate").items():
        data = launch["LaunchTemplateData"]
        assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}, name
        assert all(each["Ebs"]["Encrypted"] for each in data["BlockDeviceMappings"]), name
        assert "KeyName" not in data, f"{name}: somebody can log in"
        assert "sha256sum --check" in json.dumps(data["UserData"]), f"{name}: it runs whatever it finds"
    for name, group in of_type(template, "AWS::EC2::SecurityGroup").items():
        assert "SecurityGroupIngress" not in group, f"{name}: something comes in"
        assert all(each["FromPort"] == each["ToPort"] == 443 for each in group["SecurityGroupEgress"]), name


# The rules that hold for the template of bulk workers, which has instances and no functions.
OF_BULK = ("functions_log_where_it_ends", "roles_name_what_they_touch", "no_secret_is_a_parameter", "every_partition_will_do",
           "stacks_do_not_collide", "instances_are_shut")


def main():
    template = json.loads(Path(sys.argv[1]).read_text())
    rules = [
        queues_outlast_their_functions,
        queues_have_dead_letters,
        functions_log_where_it_ends,
        feeding_functions_may,
        strangers_are_bounded,
        secrets_are_their_owners,
        roles_name_what_they_touch,
        others_cannot_borrow_our_rights,
        alarms_are_heard,
        no_secret_is_a_parameter,
        every_partition_will_do,
        stacks_do_not_collide,
        instances_are_shut,
        lambda template: what_is_watched_is_measured(template, Path(sys.argv[2])),
    ]
    if not of_type(template, "AWS::Lambda::Function"):
        rules = [rule for rule in rules if rule.__name__ in OF_BULK]
        assert len(rules) == len(OF_BULK)
    broken = 0
    for rule in rules:
        try:
            rule(template)
        except AssertionError as error:
            broken += 1
            print(f"{getattr(rule, '__doc__', None) or 'what is watched is measured'}: {error}")
    sys.exit(broken > 0)


if __name__ == "__main__":
    main()
