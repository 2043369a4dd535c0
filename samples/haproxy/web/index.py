"""Serves one page on port 80, which names the address that it comes from."""
import http.server
import signal
import socket
import sys


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        address = self.connection.getsockname()[0]
        body = f"Hello from {address}, container {socket.gethostname()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(self.client_address[0], format % args, flush=True)


# The first process of a container ends at no signal that it does not ask for.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("Serving on port 80", flush=True)
http.server.ThreadingHTTPServer(("", 80), Page).serve_forever()
