"""Reads an event stream with one of two parsers of PyPI and prints each event as a line of JSON: [event, data, id].

read.py PARSER URL COOKIE END   (ends after the event whose data holds END; exits 3 when the stream ends before)
A time to wait that the parser tells is an event "retry".
"""

import json
import sys

import httpx
import httpx_sse
import sseclient


def main() -> int:
    parser, url, cookie, end = sys.argv[1:]
    headers = {"cookie": cookie, "accept": "text/event-stream"}
    with httpx.Client(timeout=120) as client, client.stream("GET", url, headers=headers) as response:
        if parser == "httpx-sse":
            events = httpx_sse.EventSource(response).iter_sse()
        else:
            events = sseclient.SSEClient(response.iter_bytes()).events()
        for event in events:
            if event.retry is not None:
                print(json.dumps(["retry", str(event.retry), None]), flush=True)
            print(json.dumps([event.event, event.data, event.id]), flush=True)
            if end in event.data:
                return 0
    return 3


sys.exit(main())
