#!/usr/bin/env python3
"""Computes everything in vectors.json a second time, from PROTOCOL.md alone, and compares."""
import json
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from client import Frames, H, b64, hkdf, mac, point_of, public_key, th1_of, th2_of, th3_of, unb64, verify


def raw(text):
    return unb64(text, len(text) * 3 // 4)


# -- CBOR: from a payload that is given as JSON with the names of the section "JSON".

def head(major, value):
    for size, info, form in ((24, value, ""), (1 << 8, 24, "B"), (1 << 16, 25, ">H"), (1 << 32, 26, ">I"), (1 << 64, 27, ">Q")):
        if value < size:
            return bytes([major << 5 | info]) + (struct.pack(form, value) if form else b"")
    raise ValueError(value)


def cbor_float(value):
    if value != value:
        return b"\xf9\x7e\x00"
    for first, form in ((b"\xf9", ">e"), (b"\xfa", ">f"), (b"\xfb", ">d")):
        try:
            data = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, data)[0] == value:
            return first + data


def cbor_bytes(data):
    return head(2, len(data)) + data


def cbor_list(items):
    return head(4, len(items)) + b"".join(items)


def named(name, content):
    return head(6, 27) + cbor_list([cbor(name), content])


def cbor(value):
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, float):
        return cbor(int(value)) if value.is_integer() and abs(value) < 2**53 else cbor_float(value)
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return cbor_list([cbor(item) for item in value])
    if len(value) == 1 and next(iter(value)).startswith("$"):
        [(name, content)] = value.items()
        if name == "$object":
            return cbor_map(content)
        return SPECIAL[name](content)
    return cbor_map(value)


def cbor_map(value):
    pairs = sorted((cbor(key), cbor(item)) for key, item in value.items())
    return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def cbor_bigint(text):
    value = int(text)
    size = value if value >= 0 else -1 - value
    return head(6, 2 if value >= 0 else 3) + cbor_bytes(size.to_bytes((size.bit_length() + 7) // 8, "big"))


SPECIAL = {
    "$date": lambda ms: named("date", cbor(ms)),
    "$bytes": lambda text: cbor_bytes(raw(text)),
    "$bigint": cbor_bigint,
    "$map": lambda entries: named("map", cbor(entries)),
    "$set": lambda items: named("set", cbor(items)),
    "$number": lambda name: cbor_float(float(name)),
    "$undefined": lambda _true: b"\xf7",
}


# -- The vectors

def key_of(pair):
    key = ec.derive_private_key(int.from_bytes(raw(pair["d"]), "big"), ec.SECP256R1())
    assert point_of(key) == raw(pair["publicKey"])
    return key


def check(given, wanted):
    hello_body = json.loads(wanted["hello"])[1]
    kind, body, sig_c, tag_c = json.loads(wanted["proof"])
    answer_kind, answer_body, sig_s, *tag_s = json.loads(wanted["answer"])
    C = raw(given["identity"]["publicKey"])
    ee = key_of(given["clientEphemeral"]).exchange(ec.ECDH(), public_key(raw(given["serverEphemeral"]["publicKey"])))
    assert ee == raw(wanted["secret"])
    th1 = th1_of(given["views"], hello_body)
    th2 = th2_of(th1, kind, C, body)
    th3 = th3_of(th1, kind, body, raw(sig_c), raw(tag_c), answer_kind, answer_body)
    assert [b64(th1), b64(th2), b64(th3)] == [wanted["th1"], wanted["th2"], wanted["th3"]]
    assert {label: b64(hkdf(ee, th2, label)) for label in wanted["keys"]} == wanted["keys"]
    verify(C, raw(sig_c), b"webgram-sessions/2 client\0" + th2)
    verify(raw(given["serverKey"]["publicKey"]), raw(sig_s), b"webgram-sessions/2 server\0" + th3)
    assert raw(tag_c) == mac(hkdf(ee, th2, "c confirm"), th2, raw(sig_c))
    assert [raw(tag) for tag in tag_s] == ([mac(hkdf(ee, th2, "s confirm"), th3, raw(sig_s))] if tag_s else [])
    assert len(tag_s) == (answer_kind == "session-ok")

    chosen = given["views"]["chosen"]
    for direction, frames, payloads in (("c", "clientFrames", "clientPayloads"), ("s", "serverFrames", "serverPayloads")):
        ours = Frames(chosen, direction, ee, th2)
        for frame, payload in zip(wanted[frames], given[payloads]):
            is_cbor = chosen.startswith("webgram.2.cbor")
            data = cbor(json.loads(payload)) if is_cbor else payload.encode()
            if is_cbor and not ours.sealed:
                n = struct.pack(">Q", ours.n)
                ours.n += 1
                made = mac(ours.key, ours.label, n, data)[:16] + data
            else:
                made = ours.protect(data)
            assert (made.decode() if chosen == "webgram.2.json" else b64(made)) == frame, payload

    if "renewal" in given:
        renewal, next_key = wanted["renewal"], given["renewal"]["next"]
        key_of(next_key)
        exporter, renew_id = hkdf(ee, th2, "exporter"), raw(given["renewal"]["renewID"])
        signed = b"webgram-sessions/2 renew\0" + exporter + renew_id + C + raw(next_key["publicKey"])
        assert signed == raw(renewal["input"])
        verify(raw(next_key["publicKey"]), raw(renewal["signature"]), signed)
        words = [json.loads(renewal[name]) for name in ("renew", "renewKey", "renewOk")]
        name = b64(renew_id)
        assert words == [[11, "renew", name], [11, "renew-key", name, next_key["publicKey"], renewal["signature"]],
                         [11, "renew-ok", name]]


vectors = json.loads((Path(__file__).parent.parent / "vectors.json").read_text())
for vector in vectors:
    check(vector["given"], vector["wanted"])
    assert H(raw(vector["given"]["identity"]["publicKey"]))
print(json.dumps({"checked": len(vectors)}))
sys.exit(0 if vectors else 1)
