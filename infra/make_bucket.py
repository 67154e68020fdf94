"""Waits until the S3 server at $AWS_ENDPOINT_URL answers and makes a bucket there; a bucket of ours is left as it is.

    make_bucket.py BUCKET [--server-pid PID] [--wait-seconds N]

Reads the AWS_* variables that infra/minio.sh sets; https trusts only $AWS_CA_BUNDLE. Gives up at once when the process
PID is gone. Standard library only.
"""

import argparse
import datetime
import hashlib
import hmac
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def signed_put(url: str, region: str, key: str, secret: str) -> urllib.request.Request:
    """An empty PUT with AWS Signature Version 4, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"""
    parts = urllib.parse.urlsplit(url)
    time_text = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time_text[:8]}/{region}/s3/aws4_request"
    headers = {"host": parts.netloc, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": time_text}
    names = ";".join(headers)
    header_lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = "\n".join(["PUT", parts.path, parts.query, header_lines, names, EMPTY_SHA256])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", time_text, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing_key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), to_sign):
        signing_key = hmac.new(signing_key, part.encode(), hashlib.sha256).digest()
    signature = signing_key.hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return urllib.request.Request(url, method="PUT", headers=headers)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bucket")
    parser.add_argument("--server-pid", type=int)
    parser.add_argument("--wait-seconds", type=float, default=30)
    args = parser.parse_args()

    endpoint = os.environ["AWS_ENDPOINT_URL"]
    url = f"{endpoint}/{urllib.parse.quote(args.bucket)}"
    handlers = [urllib.request.ProxyHandler({})]
    if endpoint.startswith("https:"):
        trusted = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
        handlers.append(urllib.request.HTTPSHandler(context=trusted))
    opener = urllib.request.build_opener(*handlers)

    deadline = time.monotonic() + args.wait_seconds
    while True:
        request = signed_put(
            url, os.environ["AWS_REGION"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        )
        try:
            opener.open(request, timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            body = error.read().decode(errors="replace")
            if "<Code>BucketAlreadyOwnedByYou</Code>" in body:
                return
            if error.code != 503:
                sys.exit(f"make_bucket: PUT {url}: {error.code} {body}")
            problem = body
        except OSError as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                sys.exit(f"make_bucket: PUT {url}: {error}")
            problem = str(error)
        if args.server_pid is not None and not alive(args.server_pid):
            sys.exit("make_bucket: the server has stopped")
        if time.monotonic() > deadline:
            sys.exit(f"make_bucket: no answer from {endpoint} in {args.wait_seconds:.0f} s: {problem}")
        time.sleep(0.05)


main()
