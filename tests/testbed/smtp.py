"""A mail server for tests: takes mail and writes it into files, one each. smtp.sh starts it."""

import argparse
import asyncio
import json
import os
import pathlib
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Sink:
    """Writes what it is given to FOLDER/mails, unless FOLDER/answer has another answer for it."""

    def __init__(self, folder):
        self.folder = folder
        self.count = len(list((folder / "mails").iterdir()))

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = self.answer("rcpt")
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = self.answer("data")
        if answer:
            return answer
        self.count += 1
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            "user": session.auth_data.decode() if session.auth_data else None,
            "text": envelope.content.decode("utf-8", "surrogateescape"),
        }
        path = self.folder / "mails" / f"{self.count:04}.json"
        whole = path.with_suffix(".new")
        whole.write_text(json.dumps(mail))
        os.rename(whole, path)
        return "250 OK"

    def answer(self, when):
        try:
            at, answer = (self.folder / "answer").read_text().strip().split(" ", 1)
        except (FileNotFoundError, ValueError):
            return None
        return answer if at == when else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tls", choices=["none", "start-tls", "tls"], default="none")
    parser.add_argument("--login", action="store_true")
    args = parser.parse_args()
    folder = args.folder
    context = None
    if args.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")

    def authenticator(server, session, envelope, mechanism, data):
        password = (folder / "password").read_bytes()
        good = data.login == b"berth" and data.password == password
        # Without a word of its own the library says the right thing.
        return AuthResult(success=good, handled=False, auth_data=b"berth" if good else None)

    sink = Sink(folder)
    start_tls = context if args.tls == "start-tls" else None

    def session():
        return SMTP(
            sink,
            hostname="sink.test",
            tls_context=start_tls,
            require_starttls=start_tls is not None,
            auth_required=args.login,
            auth_require_tls=args.tls == "start-tls",
            authenticator=authenticator if args.login else None,
        )

    async def serve():
        port_file = folder / "port"
        port = int(port_file.read_text()) if port_file.exists() else 0
        wrapped = context if args.tls == "tls" else None
        loop = asyncio.get_running_loop()
        server = await loop.create_server(session, "127.0.0.1", port, ssl=wrapped)
        whole = port_file.with_suffix(".new")
        whole.write_text(str(server.sockets[0].getsockname()[1]))
        os.rename(whole, port_file)
        (folder / "ready").touch()
        await server.serve_forever()

    asyncio.run(serve())


main()
