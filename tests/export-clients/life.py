"""The whole life of an export job, driven by boto3 and the aws command line."""

import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import boto3
import botocore.exceptions

PROGRAM, CACHE, WORK, HOST = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4]
PASSWORD = "correct-horse-battery"
KEYS = {"aws_access_key_id": "STATIONKEY", "aws_secret_access_key": "station-secret-key", "region_name": "us-east-1"}
# As the guide prints it, its brackets filled in: no blank behind the colons, so it is no YAML.
MANIFEST = f"""manifestVersion:2.0
generator:Text editor
deviceId:49382
fileSystem:EXT4
notificationEmail:john.doe@example.com;jane.roe@example.com
logBucket:logs
logPrefix:exports/
trueCryptPassword:{PASSWORD}
operations:
    - exportBucket:photos
      prefix:2010/
      endMarker:2010/029.jpg
    - exportBucket:photos
      beginMarker:2010/029.jpg
    - exportBucket:photos
      endMarker:2009
targetDirectory:/
returnAddress:
    name:John Doe
    street1:123 Any Street
    city:Anytown
    stateOrProvince:WA
    postalCode:98000
    country:USA
    phoneNumber:206-555-1000
"""
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": str(WORK),
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
    "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
    "AWS_DEFAULT_REGION": "us-east-1",
    "STATION_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
    "STATION_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
    "MEDIUM_PASSWORD": PASSWORD,
    "FERRY_STATE_DIR": str(WORK / "state"),
}
# Who answers the API.
HOSTS = {
    "ferry export serve": ["export", "serve", "--credentials", "env:STATION"],
    "ferry serve": ["serve", "--export-credentials", "env:STATION"],
}
passed = 0


def check(what, holds, detail=""):
    global passed
    if not holds:
        sys.exit(f"FAIL  {what}  {detail}")
    passed += 1
    print(f"ok    {what}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"FAIL  nothing listens at port {port}")


def ferry(*args, code=0):
    ended = subprocess.run([PROGRAM, *args], env=ENVIRONMENT, cwd=WORK, capture_output=True, text=True, timeout=300)
    check(f"ferry {' '.join(args[:2])} ends with {code}", ended.returncode == code, ended.stdout + ended.stderr)
    check("its output shows no password", PASSWORD not in ended.stdout + ended.stderr)
    return ended.stdout


def raised(code, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        check(f"boto3 raises {type(error).__name__}", error.response["Error"]["Code"] == code, str(error))
        return error
    sys.exit(f"FAIL  no {code} was raised")


def processes(store_port, api_port):
    log = open(WORK / "servers.log", "wb")
    run = lambda command: subprocess.Popen(command, env=ENVIRONMENT, cwd=WORK, stdout=log, stderr=log)
    return [
        run([str(CACHE / "moto/bin/moto_server"), "-H", "127.0.0.1", "-p", str(store_port)]),
        run([PROGRAM, "-v", *HOSTS[HOST], "--listen", f"127.0.0.1:{api_port}"]),
    ]


def live(store_port, api_port):
    endpoint = f"http://127.0.0.1:{api_port}"
    store = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{store_port}", **KEYS)
    for bucket in ("photos", "logs"):
        store.create_bucket(Bucket=bucket)
    objects = {f"2010/{n:03}.jpg": os.urandom(n * 97) for n in range(60)}
    objects |= {"a": b"a file", "a/b": b"below a file", "odd//name": b"no name", "grüße": b"hallo", "empty/": b""}
    for key, data in objects.items():
        store.put_object(Bucket="photos", Key=key, Body=data)

    jobs = boto3.client("importexport", endpoint_url=endpoint, **KEYS)
    validated = jobs.create_job(JobType="Export", Manifest=MANIFEST, ValidateOnly=True)
    check("a manifest is validated without a job", "JobId" not in validated and jobs.list_jobs()["Jobs"] == [])
    created = jobs.create_job(JobType="Export", Manifest=MANIFEST, ValidateOnly=False)
    job = created["JobId"]
    check("boto3 creates a job", re.fullmatch("[1-9A-NP-Z]{5}", job), job)
    check("SIGNATURE has the original's lines", created["SignatureFileContents"].split("\n")[:3] == [
        "version:2.0", "signingMethod:HmacSHA1", f"jobId:{job}"], created["SignatureFileContents"])
    status = jobs.get_status(JobId=job)
    check("boto3 reads its status", (status["LocationCode"], status["ProgressCode"]) == ("NotReceived", "Pending"))
    check("the current manifest shows no password", PASSWORD not in json.dumps(status, default=str))

    updated = jobs.update_job(JobId=job, JobType="Export", Manifest=MANIFEST + "customs:\n  encryptedData:no\n", ValidateOnly=False)
    status = jobs.get_status(JobId=job)
    check("boto3 updates it, which signs it anew", updated["Success"] and status["Signature"] != created["Signature"])
    label = jobs.get_shipping_label(jobIds=[job], name="Anne")
    check("boto3 asks for a label and is told that nothing is shipped", "Nothing is shipped" in label["Warning"])

    doomed = jobs.create_job(JobType="Export", Manifest=MANIFEST, ValidateOnly=False)["JobId"]
    check("boto3 calls a job off", jobs.cancel_job(JobId=doomed)["Success"])
    listed = jobs.list_jobs(MaxJobs=10)
    check("boto3 lists both, newest first", [(j["JobId"], j["IsCanceled"]) for j in listed["Jobs"]] == [(doomed, True), (job, False)])
    error = raised("CanceledJobIdException", jobs.cancel_job, JobId=doomed)
    check("the error is typed", isinstance(error, jobs.exceptions.CanceledJobIdException))
    raised("InvalidJobIdException", jobs.get_status, JobId="ZZZZZ")
    raised("NoSuchBucketException", jobs.create_job, JobType="Export", ValidateOnly=False,
           Manifest=MANIFEST.replace("photos", "nowhere"))
    raised("InvalidFileSystemException", jobs.create_job, JobType="Export", ValidateOnly=False,
           Manifest=MANIFEST.replace("EXT4", "FAT32"))
    raised("MissingManifestFieldException", jobs.create_job, JobType="Export", ValidateOnly=False,
           Manifest=MANIFEST.replace("deviceId:49382\n", ""))
    stranger = boto3.client("importexport", endpoint_url=endpoint, **KEYS | {"aws_secret_access_key": "guess"})
    raised("SignatureDoesNotMatch", stranger.list_jobs)

    aws = CACHE / "awscli/bin/aws"
    if aws.exists():
        (WORK / "manifest.txt").write_text(MANIFEST)
        def cli(*args):
            ended = subprocess.run([str(aws), "importexport", *args, "--endpoint-url", endpoint], env=ENVIRONMENT,
                                   cwd=WORK, capture_output=True, text=True, timeout=120)
            check(f"aws importexport {args[0]}", ended.returncode == 0, ended.stderr)
            return json.loads(ended.stdout)
        by_cli = cli("create-job", "--job-type", "Export", "--manifest", "file://manifest.txt", "--no-validate-only")["JobId"]
        check("the job it created is listed", by_cli in [j["JobId"] for j in cli("list-jobs")["Jobs"]])
        check("and pending", cli("get-status", "--job-id", by_cli)["ProgressCode"] == "Pending")
        check("and called off", cli("cancel-job", "--job-id", by_cli)["Success"])
    else:
        print("skip  the aws command line: it could not be installed")

    device = WORK / "device"
    device.mkdir()
    ferry("export", "run", job, "--target", f"dir:{device}", code=4)
    check("without SIGNATURE nothing is written", list(device.iterdir()) == [])
    check("and the job says so", jobs.get_status(JobId=job)["ProgressCode"] == "MissingSignature")
    (device / "SIGNATURE").write_text(created["SignatureFileContents"])
    ferry("export", "run", job, "--target", f"dir:{device}", code=4)
    check("the SIGNATURE of the older manifest is refused", jobs.get_status(JobId=job)["ProgressCode"] == "InvalidSignature")
    (device / "SIGNATURE").write_text(status["SignatureFileContents"])
    ended = json.loads(ferry("export", "run", job, "--target", f"dir:{device}", "--json"))
    check("the medium is written and read back", ended["verdict"]["wrong"] == 0 and ended["verdict"]["right_files"] == len(objects) - 1, ended)
    status = jobs.get_status(JobId=job)
    check("boto3 sees that it is complete", (status["ProgressCode"], status["LocationCode"], status["LogKey"]) == (
        "Complete", "AtAWS", f"exports/export-log-{job}"), status)
    raised("UnableToCancelJobIdException", jobs.cancel_job, JobId=job)
    ferry("export", "release", job, "--target", f"dir:{device}")
    released = jobs.get_status(JobId=job)
    check("boto3 sees that the device was let go", (released["LocationCode"], released["Carrier"]) == ("Returned", "local"), released)
    log = store.get_object(Bucket=status["LogBucket"], Key=status["LogKey"])["Body"].read().decode()
    check("the log has the original's columns and a row for each object",
          log.startswith("DateTime,File,Status,Code,Key,MD5,Bytes,Content-Type,") and len(log.strip().split("\n")) == len(objects) + 1)

    ferry("export", "verify", f"dir:{device}", "--password-env", "MEDIUM_PASSWORD")
    ferry("export", "verify", f"dir:{device}", code=1)
    ferry("export", "open", f"dir:{device}", str(WORK / "out"), "--password-env", "MEDIUM_PASSWORD")
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (WORK / "out").rglob("*") if path.is_file()}
    missing = [key for key, data in objects.items() if not key.endswith("/") and hashlib.sha256(data).hexdigest() not in hashes]
    check("every object comes out of the container", missing == [], missing)
    names = {str(path.relative_to(WORK / "out")) for path in (WORK / "out").rglob("*")}
    bagit = CACHE / "bagit/bin/python"
    if bagit.exists():
        valid = subprocess.run([str(bagit), "-m", "bagit", "--validate", "."], cwd=WORK / "out", capture_output=True, text=True, timeout=120)
        check("the Library of Congress's tool finds the bag valid", valid.returncode == 0, valid.stderr)
    else:
        print("skip  the bag: bagit could not be installed")
    check("under the path of its key", any(name.endswith("photos/2010/001.jpg") for name in names), sorted(names)[:20])


def no_password_anywhere():
    secrets = [WORK / "manifest.txt"]
    for path in WORK.rglob("*"):
        if not path.is_file() or path in secrets or (WORK / "state/secrets") in path.parents:
            continue
        check_quietly = PASSWORD.encode() in path.read_bytes()
        if check_quietly:
            sys.exit(f"FAIL  the password is in {path}")
    kept = [path for path in (WORK / "state/secrets").rglob("*") if path.is_file()]
    check("secrets are files for their owner alone", kept and all(path.stat().st_mode & 0o077 == 0 for path in kept), kept)
    check("no password is in any other file", True)


store_port, api_port = free_port(), free_port()
(WORK / "ferry.yaml").write_text(
    f"stores:\n  s3:\n    endpoint: http://127.0.0.1:{store_port}\n    credentials: env:STATION\n")
running = processes(store_port, api_port)
try:
    wait_for(store_port)
    wait_for(api_port)
    live(store_port, api_port)
finally:
    for process in running:
        process.terminate()
        process.wait(30)
no_password_anywhere()
print(f"{passed} passed with {HOST}")
