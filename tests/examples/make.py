#!/usr/bin/env python3
"""Writes the example logs beside this file. Everything is invented; the same script writes the same bytes.

    python3 tests/examples/make.py
"""
import base64
import gzip
import hashlib
import io
import json
import pathlib
import random
import shutil

HERE = pathlib.Path(__file__).parent
ACCOUNT = "111122223333"
PARTNER = "999988887777"
HOME = "eu-west-1"
KEY = "0f1e2d3c-4b5a-4697-8877-665544332211"
AGENTS = {
    "boto": "Boto3/1.35.90 md/Botocore#1.35.90 ua/2.0 os/linux lang/python#3.12.8",
    "cli": "aws-cli/2.22.26 md/awscrt#0.23.4 ua/2.0 os/linux md/command#secretsmanager.get-secret-value",
    "terraform": "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 terraform-provider-aws/5.82.2",
}
random.seed("secretrail examples")


def uuid():
    digits = "%032x" % random.getrandbits(128)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def clock(text, plus=0):
    hours, minutes, seconds = map(int, text.split(":"))
    at = hours * 3600 + minutes * 60 + seconds + plus
    return f"2026-03-02T{at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}Z"


def role(name, session, account=ACCOUNT, path="/"):
    tag = name.upper().replace("-", "")[:8]
    return {
        "type": "AssumedRole", "principalId": f"AROAEXAMPLE{tag}:{session}",
        "arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}", "accountId": account,
        "accessKeyId": f"ASIAEXAMPLE{tag}", "sessionContext": {
            "sessionIssuer": {"type": "Role", "principalId": f"AROAEXAMPLE{tag}",
                              "arn": f"arn:aws:iam::{account}:role{path}{name}", "accountId": account, "userName": name},
            "webIdFederationData": {}, "attributes": {"creationDate": "2026-03-02T08:00:00Z", "mfaAuthenticated": "false"}}}


def user(name):
    return {"type": "IAMUser", "principalId": f"AIDAEXAMPLE{name.upper()[:6]}", "arn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
            "accountId": ACCOUNT, "accessKeyId": "AKIAEXAMPLE" + name.upper()[:6], "userName": name}


def record(identity, at, source, name, params, ip, agent, region=HOME, **more):
    return {"eventVersion": "1.11", "userIdentity": identity, "eventTime": at, "eventSource": f"{source}.amazonaws.com",
            "eventName": name, "awsRegion": region, "sourceIPAddress": ip, "userAgent": AGENTS.get(agent, agent),
            **{k: more[k] for k in ("errorCode", "errorMessage") if k in more}, "requestParameters": params,
            "responseElements": None, "requestID": uuid(), "eventID": uuid(), "readOnly": True,
            **{k: more[k] for k in ("resources",) if k in more}, "eventType": "AwsApiCall", "managementEvent": True,
            "recipientAccountId": ACCOUNT, "eventCategory": "Management"}


def suffix(name):
    letters = random.Random(name)
    return "".join(letters.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=6))


def secret_arn(name, region=HOME):
    return f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{name}-{suffix(name)}"


def parameter_arn(name, region=HOME):
    return f"arn:aws:ssm:{region}:{ACCOUNT}:parameter{name}"


def decrypt(identity, at, context, via, region=HOME, ip=None, agent=None):
    identity = json.loads(json.dumps(identity))
    if via:
        identity["invokedBy"] = via
        identity["accessKeyId"] = "ASIAEXAMPLEFAS" + "%04X" % random.getrandbits(16)
    key = [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": f"arn:aws:kms:{region}:{ACCOUNT}:key/{KEY}"}]
    return record(identity, at, "kms", "Decrypt", {"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": context},
                  via or ip, via or agent, region, resources=key)


def version(name, number=1):
    """Id of a version of a secret; replicas have the versions of their primary."""
    uuid()  # keeps the ids of the records as they have always been
    digits = "%032x" % random.Random(f"{name} version {number}").getrandbits(128)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def read(identity, at, name, ip, agent="boto", region=HOME, form="name", number=1, **more):
    """A read of a secret and the Decrypt behind it."""
    asked = name if form == "name" else secret_arn(name, region)
    context = {"SecretARN": secret_arn(name, region), "SecretVersionId": version(name, number)}
    return [record(identity, at, "secretsmanager", "GetSecretValue", {"secretId": asked, **more}, ip, agent, region),
            decrypt(identity, at, context, "secretsmanager.amazonaws.com", region)]


def denied(identity, at, name, ip, agent):
    message = (f"User: {identity['arn']} is not authorized to perform: secretsmanager:GetSecretValue on resource: {name} "
               "because no identity-based policy allows the secretsmanager:GetSecretValue action")
    return [record(identity, at, "secretsmanager", "GetSecretValue", None, ip, agent, errorCode="AccessDenied", errorMessage=message)]


def parameters(identity, at, names, ip, api="GetParameters", path=None):
    params = {"path": path, "recursive": True, "withDecryption": True} if path else {"names": names, "withDecryption": True}
    resources = {} if path else {"resources": [{"accountId": ACCOUNT, "ARN": parameter_arn(n)} for n in names]}
    rows = [record(identity, at, "ssm", api, params, ip, "boto", **resources)]
    return rows + [decrypt(identity, at, {"PARAMETER_ARN": parameter_arn(n)}, "AWS Internal") for n in names]


PAYMENTS = [f"prod/payments/{x}" for x in ("db", "stripe-key", "signing-key")]
ALL = PAYMENTS + [f"prod/{app}/{kind}" for app in ("orders", "search", "catalog", "mailer", "billing", "shipping", "reports")
                  for kind in ("db", "api-key", "smtp")]
ORDERS = ["/prod/orders/db-url", "/prod/orders/queue", "/prod/orders/token"]


def ordinary():
    """What a quiet morning looks like."""
    rows = []
    for minute in range(0, 240, 12):
        at = clock("08:00:00", minute * 60 + minute % 7)
        rows.append(read(role("payments-app", f"i-0a1b2c3d4e5f6{minute % 3:04d}"), at, PAYMENTS[minute % 3], "10.20.1.15", form="arn"))
        rows.append(read(role("search-app", "i-0bb0bb0bb0bb0bb01"), clock("08:03:00", minute * 60), "prod/search/db", "10.20.2.31"))
    for minute in range(0, 240, 30):
        worker = role("orders-worker", "orders-fn")
        rows.append(parameters(worker, clock("08:10:20", minute * 60), ORDERS, "10.20.3.8"))
        rows.append(parameters(role("catalog-app", "task-77"), clock("08:11:00", minute * 60), ["/prod/catalog/db", "/prod/catalog/cache"],
                               "10.20.4.4", "GetParametersByPath", "/prod/catalog"))
    batch = role("mailer-app", "mailer-fn")
    rows.append([record(batch, clock("09:00:05"), "secretsmanager", "BatchGetSecretValue",
                        {"secretIdList": ["prod/mailer/db", "prod/mailer/smtp"]}, "10.20.5.5", "boto")]
                + read(batch, clock("09:00:05"), "prod/mailer/db", "10.20.5.5") + read(batch, clock("09:00:05"), "prod/mailer/smtp", "10.20.5.5"))
    rotation = role("rotate-payments", "rotate-fn")
    rows.append(read(rotation, clock("10:15:00"), "prod/payments/db", "10.20.6.6", form="arn")
                + [record(rotation, clock("10:15:02"), "secretsmanager", "PutSecretValue", {"secretId": secret_arn("prod/payments/db"), "versionStages": ["AWSPENDING"]}, "10.20.6.6", "boto"),
                   decrypt(rotation, clock("10:15:02"), {"SecretARN": secret_arn("prod/payments/db"), "SecretVersionId": version("prod/payments/db", 2)}, "secretsmanager.amazonaws.com")])
    for index, name in enumerate(ALL):  # infrastructure as code reads everything, and is granted everything
        rows.append(read(role("ci-terraform", "run-4711"), clock("09:30:00", index // 3), name, "10.20.9.9", "terraform", form="arn"))
    for minute in range(0, 240, 2):
        who = role("payments-app", "i-0a1b2c3d4e5f60000")
        rows.append([record(who, clock("08:00:30", minute * 60), "ec2", "DescribeInstances", {"instancesSet": {}}, "10.20.1.15", "boto")])
        bucket = {"aws:s3:arn": f"arn:aws:s3:::prod-data/{minute}.parquet"}
        rows.append([decrypt(who, clock("08:00:31", minute * 60), bucket, "s3.amazonaws.com")])
    return rows


def stories():
    rows = []
    # 1. A session of the search servers, used from outside and in a region that nobody works in.
    stolen = role("search-app", "i-0bb0bb0bb0bb0bb01")
    rows.append(read(stolen, clock("10:42:10"), "prod/payments/stripe-key", "203.0.113.77", "cli"))
    rows.append(read(stolen, clock("10:44:51"), "prod/search/db", "203.0.113.77", "cli", region="sa-east-1", form="arn"))
    # 2. A forgotten user's key empties the store.
    jo = user("jo.backup")
    rows.append([record(jo, clock("11:05:00"), "secretsmanager", "ListSecrets", {"maxResults": 100}, "198.51.100.23", "boto")])
    for index, name in enumerate(ALL):
        rows.append(read(jo, clock("11:05:03", index * 4), name, "198.51.100.23", "Boto3/1.34.7 os/linux#6.6.9-kali1-amd64"))
    # 3. The web servers try doors, and one opens.
    web = role("web-frontend", "i-0cc0cc0cc0cc0cc02")
    for index, name in enumerate(ALL[3:12]):
        rows.append(denied(web, clock("11:20:00", index * 5), name, "10.20.8.3", "cli"))
    rows.append(read(web, clock("11:20:50"), "prod/reports/smtp", "10.20.8.3", "cli"))
    # 4. A parameter's ciphertext, fetched without decryption, and decrypted past Parameter Store.
    kim = user("kim.dev")
    name = "/prod/orders/token"
    rows.append([record(kim, clock("11:31:00"), "ssm", "GetParameter", {"name": name, "withDecryption": False}, "198.51.100.61", "cli",
                        resources=[{"accountId": ACCOUNT, "ARN": parameter_arn(name)}])])
    rows.append([decrypt(kim, clock("11:31:09"), {"PARAMETER_ARN": parameter_arn(name)}, None, ip="198.51.100.61", agent=AGENTS["cli"])])
    # 5. An account outside the organisation reads by a resource policy that is too wide.
    vendor = role("vendor-sync", "nightly", account=PARTNER)
    rows.append(read(vendor, clock("11:40:12"), "prod/billing/api-key", "192.0.2.140", form="arn"))
    return rows


def afternoon():
    """What came of the second story: rotations, one of which failed, and a read of an old version."""
    rows = []
    pipeline = role("ci-terraform", "run-4712")
    for index, name in enumerate(PAYMENTS + ALL[3:6]):
        arn, new = secret_arn(name), version(name, 2)
        call = lambda plus, api, **params: record(pipeline, clock("13:00:00", index * 60 + plus), "secretsmanager", api, {"secretId": arn, **params}, "10.20.9.9", "terraform")
        rows.append(read(pipeline, clock("13:00:00", index * 60), name, "10.20.9.9", "terraform", form="arn", versionStage="AWSCURRENT"))
        rows.append([call(2, "PutSecretValue", clientRequestToken=new, versionStages=["AWSPENDING"])])
        if name == "prod/orders/smtp":
            failed = record({"accountId": ACCOUNT, "invokedBy": "secretsmanager.amazonaws.com"}, clock("13:00:00", index * 60 + 9), "secretsmanager", "RotationFailed",
                            None, "secretsmanager.amazonaws.com", "secretsmanager.amazonaws.com", errorMessage="Pending secret version did not pass the test.")
            rows.append([{**failed, "eventType": "AwsServiceEvent", "additionalEventData": {"SecretId": arn}}])
            continue
        rows.append([call(6, "UpdateSecretVersionStage", versionStage="AWSCURRENT", moveToVersionId=new, removeFromVersionId=version(name))])
    rows.append(read(role("payments-app", "i-0a1b2c3d4e5f60000"), clock("13:20:00"), "prod/payments/stripe-key", "10.20.1.15", form="arn", number=2))
    # 6. The key of the second story is still alive, and asks for the version before the rotation.
    rows.append(read(user("jo.backup"), clock("14:41:40"), "prod/payments/stripe-key", "198.51.100.23", "Boto3/1.34.7 os/linux#6.6.9-kali1-amd64",
                     form="arn", versionStage="AWSPREVIOUS"))
    return rows


def prime(numbers):
    """A number of 1,024 bits that passes forty rounds of Miller and Rabin."""
    while True:
        candidate = numbers.getrandbits(1024) | 3 << 1022 | 1
        odd, twos = candidate - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        for _ in range(40):
            power = pow(numbers.randrange(2, candidate - 1), odd, candidate)
            if power in (1, candidate - 1):
                continue
            for _ in range(twos - 1):
                power = power * power % candidate
                if power == candidate - 1:
                    break
            else:
                break
        else:
            return candidate


def der(number):
    """An integer of ASN.1."""
    body = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return b"\x02" + length(body) + body


def length(body):
    size = len(body)
    return bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")


class SigningKey:
    """A key of an invented region. It is made from a seed that everybody knows: it protects nothing."""

    def __init__(self):
        numbers = random.Random("secretrail example key")
        p, q = prime(numbers), prime(numbers)
        self.modulus, self.private = p * q, pow(65537, -1, (p - 1) * (q - 1))
        pair = der(self.modulus) + der(65537)
        self.public = b"\x30" + length(pair) + pair
        self.fingerprint = hashlib.md5(self.public).hexdigest()

    def sign(self, text):
        """RSASSA-PKCS1-v1_5 with SHA-256."""
        info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(text.encode()).digest()
        padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info
        return "%0512x" % pow(int.from_bytes(padded, "big"), self.private, self.modulus)


def chain(files):
    """The hourly digests of both regions, signed, and the public key in `public-keys.json`."""
    key = SigningKey()
    for region in sorted({region for region, _ in files}):
        hours = sorted({-(-stamp // 60) for place, stamp in files if place == region})
        tree = HERE / "logs" / "AWSLogs" / ACCOUNT
        logs = sorted((tree / "CloudTrail" / region).rglob("*.gz"))
        previous = None
        # The last one has no logs. On a disk nothing proves it: its signature is in the metadata of S3.
        for hour in range(hours[0], hours[-1] + 2):
            of_hour = [log for log in logs if -(-minute_of(log) // 60) == hour]
            name = f"{ACCOUNT}_CloudTrail-Digest_{region}_main_{HOME}_20260302T{hour:02d}0000Z.json.gz"
            place = f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/{region}/2026/03/02/{name}"
            digest = {
                "awsAccountId": ACCOUNT, "digestStartTime": f"2026-03-02T{hour - 1:02d}:00:00Z",
                "digestEndTime": f"2026-03-02T{hour:02d}:00:00Z", "digestS3Bucket": "example-trail-logs",
                "digestS3Object": place, "digestPublicKeyFingerprint": key.fingerprint,
                "digestSignatureAlgorithm": "SHA256withRSA", "newestEventTime": None, "oldestEventTime": None,
                "previousDigestS3Bucket": previous and "example-trail-logs",
                "previousDigestS3Object": previous and previous["place"],
                "previousDigestHashValue": previous and previous["hash"],
                "previousDigestHashAlgorithm": previous and "SHA-256",
                "previousDigestSignature": previous and previous["signature"], "logFiles": [],
            }
            for log in of_hour:
                text = gzip.decompress(log.read_bytes())
                times = sorted(row["eventTime"] for row in json.loads(text)["Records"])
                digest["logFiles"].append({
                    "s3Bucket": "example-trail-logs", "s3Object": str(log.relative_to(HERE / "logs")),
                    "hashValue": hashlib.sha256(text).hexdigest(), "hashAlgorithm": "SHA-256",
                    "newestEventTime": times[-1], "oldestEventTime": times[0],
                })
            times = [time for log in digest["logFiles"] for time in (log["oldestEventTime"], log["newestEventTime"])]
            if times:
                digest["oldestEventTime"], digest["newestEventTime"] = min(times), max(times)
            text = json.dumps(digest, separators=(",", ":"))
            hash_value = hashlib.sha256(text.encode()).hexdigest()
            signed = [digest["digestEndTime"], f"example-trail-logs/{place}", hash_value,
                      previous["signature"] if previous else "null"]
            previous = {"place": place, "hash": hash_value, "signature": key.sign("\n".join(signed))}
            path = HERE / "logs" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
    keys = {"PublicKeyList": [{
        "Value": base64.b64encode(key.public).decode(), "Fingerprint": key.fingerprint,
        "ValidityStartTime": "2026-01-01T00:00:00+00:00", "ValidityEndTime": "2026-12-31T00:00:00+00:00",
    }]}
    (HERE / "public-keys.json").write_text(json.dumps(keys, indent=2) + "\n")


def minute_of(log):
    """The minute of the day at which a log was delivered, from its name."""
    stamp = log.name.split("_")[3]
    return int(stamp[9:11]) * 60 + int(stamp[11:13])


def main():
    files = {}

    def put(row, late):
        at = row["eventTime"]
        minute = int(at[11:13]) * 60 + int(at[14:16])
        stamp = (minute // 5 + 1 + late) * 5
        files.setdefault((row["awsRegion"], stamp), []).append(row)

    for group in ordinary() + stories():
        first = random.random()
        for index, row in enumerate(group):
            # Either half may come one or two deliveries later than the other; some records come twice.
            late = random.choice((0, 0, 1, 2)) if (first < 0.5) == (index > 0) else 0
            put(row, late)
            if random.random() < 0.03:
                put(row, late + 1)
    shutil.rmtree(HERE / "logs", ignore_errors=True)
    for (region, stamp), rows in sorted(files.items()):
        random.shuffle(rows)
        name = "".join(random.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=16))
        day = HERE / "logs" / "AWSLogs" / ACCOUNT / "CloudTrail" / region / "2026" / "03" / "02"
        day.mkdir(parents=True, exist_ok=True)
        path = day / f"{ACCOUNT}_CloudTrail_{region}_20260302T{stamp // 60:02d}{stamp % 60:02d}Z_{name}.json.gz"
        buffer = io.BytesIO()
        with gzip.GzipFile("", "wb", 9, buffer, mtime=0) as out:
            out.write(json.dumps({"Records": rows}, separators=(",", ":")).encode())
        path.write_bytes(buffer.getvalue())
    chain(files)
    # One file, beside the logs of the morning.
    rows = [row for group in afternoon() for row in group]
    shutil.rmtree(HERE / "afternoon", ignore_errors=True)
    day = HERE / "afternoon" / "AWSLogs" / ACCOUNT / "CloudTrail" / HOME / "2026" / "03" / "02"
    day.mkdir(parents=True)
    text = json.dumps({"Records": rows}, separators=(",", ":")).encode()
    (day / f"{ACCOUNT}_CloudTrail_{HOME}_20260302T1445Z_Afternoon0000000.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


main()
