#!/usr/bin/env python3
"""A client of webgram sessions, version 2, written from PROTOCOL.md alone. Numbers in comments are its sections.

    client.py ws://127.0.0.1:5678/ identity.json TYPE [JSON ARGUMENT ...]

It creates a session, or resumes the one in identity.json, attaches one tab, asks, and prints one line of JSON:
{"session": 7, "resumed": true, "reason": "resumed", "generation": ..., "answer": ...}. Only Python's own library and
`cryptography` are used. Options: --subprotocol NAME, --break sig|tag|frame (sends that with one bit wrong),
--origin ORIGIN, --end (ends the session instead, for good: {"session": 7, "generation": ..., "ended": "revoked"}).
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import time
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE = "ES256 P256 HKDF-SHA256 HMAC-SHA256"
L = b"webgram-sessions/2 " + SUITE.encode() + b"\0"
ES256 = ec.ECDSA(hashes.SHA256())


class Refused(Exception):
    """What came is not what PROTOCOL.md says, or does not verify. The identity is kept."""


# -- 2 Bytes

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text, length):
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64(data) != text or len(data) != length:
        raise Refused("a byte field has another spelling or length")
    return data


def lp(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">H", len(data)) + data


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def point_of(private_key):
    raw = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    return private_key.public_key().public_bytes(*raw)


def public_key(point):
    if len(point) != 65 or point[0] != 4:
        raise Refused("a point must be uncompressed")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def sign(private_key, data):
    r, s = decode_dss_signature(private_key.sign(data, ES256))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(point, signature, data):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public_key(point).verify(encode_dss_signature(r, s), data, ES256)


def hkdf(ikm, salt, label):
    return mac(mac(salt, ikm), b"webgram-sessions/2 ", label.encode(), b"\x01")


# -- 4.2, 4.3 The hashes of a handshake

def th1_of(views, hello_body):
    return H(L, b"hello\0", *(lp(views[name]) for name in ("origin", "authority", "offered", "chosen")), lp(hello_body))


def th2_of(th1, kind, point, body):
    return H(L, b"client\0", th1, lp(kind), lp(point), lp(body))


def th3_of(th1, kind, body, sig_c, tag_c, answer_kind, answer_body):
    parts = kind, body, sig_c, tag_c, answer_kind, answer_body
    return H(L, b"answer\0", th1, *map(lp, parts))


# -- 5 Frames

class Frames:
    """One direction: `c` from the client, `s` from the server."""

    def __init__(self, chosen, direction, ee, th2):
        self.sealed = chosen.endswith(".sealed")
        self.key = hkdf(ee, th2, direction + (" seal" if self.sealed else " frame"))
        self.label = b"frame\0" + {"c": b"C", "s": b"S"}[direction]
        self.n = 0

    def _count(self):
        self.n += 1
        return struct.pack(">Q", self.n - 1)

    def protect(self, payload):
        n = self._count()
        if self.sealed:
            return AESGCM(self.key).encrypt(b"\0\0\0\0" + n, payload, self.label)
        return b64(mac(self.key, self.label, n, payload)[:16]).encode() + payload

    def open(self, frame):
        n = self._count()
        if self.sealed:
            return AESGCM(self.key).decrypt(b"\0\0\0\0" + n, frame, self.label)
        tag, payload = frame[:22], frame[22:]
        if not hmac.compare_digest(tag, b64(mac(self.key, self.label, n, payload)[:16]).encode()):
            raise Refused("a frame does not verify")
        return payload


# -- RFC 6455, as much as is needed

class WebSocket:
    def __init__(self, address, offered, origin):
        url = urlsplit(address)
        self.authority = url.netloc.lower()
        self.socket = socket.create_connection((url.hostname, url.port or 80), timeout=10)
        lines = [f"GET {url.path or '/'} HTTP/1.1", f"Host: {self.authority}", "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
                 f"Sec-WebSocket-Protocol: {offered}", *([f"Origin: {origin}"] if origin else [])]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        head, self.buffer = b"", b""
        while b"\r\n\r\n" not in head:
            head += self._receive()
        head, self.buffer = head.split(b"\r\n\r\n", 1)
        status, *fields = head.decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (field.split(":", 1) for field in fields)}
        if status.split()[1] != "101":
            raise Refused(status)
        self.chosen = headers.get("sec-websocket-protocol", "")

    def _receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise Refused("the socket ended")
        return data

    def _take(self, count):
        while len(self.buffer) < count:
            self.buffer += self._receive()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def send(self, data, opcode):
        mask, size = os.urandom(4), len(data)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self):
        while True:
            first, size = self._take(2)
            if size > 125:
                size = struct.unpack(">H" if size == 126 else ">Q", self._take(2 if size == 126 else 8))[0]
            data = self._take(size)
            if first & 15 == 8:
                raise Refused(f"closed with {struct.unpack('>H', data[:2])[0] if data else 1005}: {data[2:].decode()}")
            if first & 15 in (1, 2) and first & 0x80:
                return data


# -- The client

def flip(data, when):
    return data[:-1] + bytes([data[-1] ^ 1]) if when else data


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("identity")
    parser.add_argument("type", nargs="?")
    parser.add_argument("arguments", nargs="*", type=json.loads)
    parser.add_argument("--subprotocol", default="webgram.2.json")
    parser.add_argument("--origin", default="")
    parser.add_argument("--break", dest="wrong", choices=["sig", "tag", "frame"])
    parser.add_argument("--end", action="store_true")
    options = parser.parse_args()
    if (options.type is None) != options.end:
        parser.error("either TYPE or --end")
    stored = json.load(open(options.identity)) if os.path.exists(options.identity) else {}
    c = (ec.derive_private_key(int(stored["d"], 16), ec.SECP256R1()) if stored
         else ec.generate_private_key(ec.SECP256R1()))
    C = point_of(c)

    # 3 Opening, and the views
    ws = WebSocket(options.address, options.subprotocol, options.origin)
    views = {"origin": options.origin, "authority": ws.authority, "offered": options.subprotocol, "chosen": ws.chosen}
    if ws.chosen != options.subprotocol:
        raise Refused("the chosen subprotocol was not offered")

    # 4.1 hello
    kind, hello_body = json.loads(ws.receive())
    version, suite, E_s, S, challenge, store_id, *_numbers = json.loads(hello_body)
    if kind != "hello" or version != 2 or suite != SUITE or len(_numbers) != 3:
        raise Refused("another hello")
    E_s, S = unb64(E_s, 65), unb64(S, 65)
    unb64(challenge, 32), unb64(store_id, 16)
    if stored and (stored["S"], stored["store"]) != (b64(S), store_id):
        raise Refused("another server key or store: nothing is sent")

    # 4.2 Proof
    e_c = ec.generate_private_key(ec.SECP256R1())
    E_c = b64(point_of(e_c))
    if stored:
        kind, body = "session-resume", [b64(H(C)[:16]), E_c, stored["session"], []]
    else:
        kind, body = "session-create", [b64(C), E_c, {"client": "python"}, []]
    body = json.dumps(body)
    ee = e_c.exchange(ec.ECDH(), public_key(E_s))
    th1 = th1_of(views, hello_body)
    th2 = th2_of(th1, kind, C, body)
    sig_c = flip(sign(c, b"webgram-sessions/2 client\0" + th2), options.wrong == "sig")
    tag_c = flip(mac(hkdf(ee, th2, "c confirm"), th2, sig_c), options.wrong == "tag")
    ws.send(json.dumps([kind, body, b64(sig_c), b64(tag_c)]).encode(), 1)

    # 4.3 Answer
    answer_kind, answer_body, sig_s, *tag_s = json.loads(ws.receive())
    th3 = th3_of(th1, kind, body, sig_c, tag_c, answer_kind, answer_body)
    sig_s = unb64(sig_s, 64)
    verify(S, sig_s, b"webgram-sessions/2 server\0" + th3)
    if answer_kind == "session-denied" and not tag_s:
        print(json.dumps({"denied": json.loads(answer_body)[0]}))
        return
    wanted = mac(hkdf(ee, th2, "s confirm"), th3, sig_s)
    if answer_kind != "session-ok" or not hmac.compare_digest(unb64(tag_s[0], 32), wanted):
        raise Refused("the answer does not verify")
    session, time_ms, _expires, _max_link, generation, _other = json.loads(answer_body)
    if not stored:
        d = c.private_numbers().private_value
        with open(os.open(options.identity, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            json.dump({"d": f"{d:064x}", "session": session, "S": b64(S), "store": store_id}, file)

    # 5, 6 Frames: attach a tab and ask, or 6.3: end the session, without a tab
    ups, downs = (Frames(ws.chosen, direction, ee, th2) for direction in "cs")
    opcode = 2 if ups.sealed else 1

    def send(*envelopes):
        ws.send(flip(ups.protect(json.dumps(envelopes).encode()), options.wrong == "frame"), opcode)

    if options.end:
        send([11, "end"])
    else:
        send([0, 1, b64(os.urandom(16)), 1, [0, 0], 1, [time_ms, 0, 0], {}],
             [3, 1, 1, [0, 0], options.type, *options.arguments])
    result = {"session": session, "generation": generation}
    while True:
        for envelope in json.loads(downs.open(ws.receive())):
            if envelope[0] == 1:
                if not isinstance(envelope[4], list):
                    raise Refused(f"the attach was refused: {envelope[4]}")
                result["resumed"], result["reason"] = envelope[4][:2]
            elif envelope[0] == 9:
                send([10, envelope[1]])
            elif envelope == [12, "revoked"] and options.end:
                print(json.dumps(result | {"ended": "revoked"}))
                return
            elif envelope[0] == 12:
                raise Refused(f"bye: {envelope[1]}")
            elif envelope[0] == 4 and envelope[4] == 1:
                result |= {"error": envelope[5]} if envelope[5] is not None else {"answer": envelope[6]}
                send([7, 1, envelope[2]], [8, 1, 1, "closed"], [12, "closed"])
                print(json.dumps(result))
                return


if __name__ == "__main__":
    try:
        main()
    except (Refused, InvalidSignature, OSError) as error:
        print(json.dumps({"refused": str(error) or type(error).__name__}))
        sys.exit(1)
