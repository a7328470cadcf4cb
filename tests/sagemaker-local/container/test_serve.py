"""That serve.py serves user scripts as the framework containers do. All are real processes."""

import io
import json
import os
import signal
import socket
import sys
import threading
import unittest

import numpy
from local_testing import (
    HERE,
    Client,
    ContainerTest,
    Server,
    eventually,
    is_running,
    next_line,
)

FUNCTIONS = """
import json
def model_fn(model_dir):
    with open(model_dir + "/factor") as file:
        return int(file.read())
def input_fn(body, content_type):
    if content_type == "text/csv":
        return [float(value) for value in body.split(",")]
    return [float(byte) for byte in body]
def predict_fn(values, model):
    return [value * model for value in values]
def output_fn(prediction, accept):
    if accept == "text/plain":
        return repr(prediction).encode(), "text/x-repr"
    return json.dumps([prediction, accept])
"""
# A model for the default functions: adds up each row.
DEFAULTS = """
class Sum:
    def predict(self, rows):
        assert rows.dtype == "float32" or rows.dtype == "float64", rows.dtype
        return rows.sum(axis=-1)
def model_fn(model_dir):
    return Sum()
"""
TRANSFORM = """
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    return f"{body} {content_type} {accept}", "text/plain"
"""


class ServeTest(ContainerTest):
    def served(self, script: str, **environment: str) -> Server:
        root = self.root({"inference.py": script}, **environment)
        root.write({"factor": "3"}, "model")
        return self.serve(root)


class Functions(ServeTest):
    def test_the_scripts_functions_are_called_in_turn(self) -> None:
        server = self.served(FUNCTIONS).ready()
        self.assertEqual(server.ping(), (200, b""))
        status, body, content_type = server.invoke("1,2", "text/csv", "application/json")
        self.assertEqual((status, content_type), (200, "application/json"))
        self.assertEqual(json.loads(body), [[3.0, 6.0], "application/json"])

    def test_other_bodies_come_as_bytes_and_output_fn_may_name_its_type(self) -> None:
        server = self.served(FUNCTIONS).ready()
        answer = server.invoke(b"\x01\xff", "application/octet-stream", "text/plain")
        self.assertEqual(answer, (200, b"[3.0, 765.0]", "text/x-repr"))

    def test_what_is_accepted_defaults_to_json_or_the_containers_setting(self) -> None:
        server = self.served(FUNCTIONS).ready()
        for accept in (None, "*/*"):
            _, body, _ = server.invoke("1", "text/csv", accept)
            self.assertEqual(json.loads(body)[1], "application/json")
        server = self.served(FUNCTIONS, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="text/csv").ready()
        self.assertEqual(json.loads(server.invoke("1", "text/csv")[1])[1], "text/csv")

    def test_transform_fn_stands_for_the_other_three(self) -> None:
        server = self.served(TRANSFORM).ready()
        answer = server.invoke("1", "text/csv", "application/json")
        self.assertEqual(answer, (200, b"1 text/csv application/json", "text/plain"))

    def test_the_default_functions_read_and_write_csv_json_and_npy(self) -> None:
        server = self.served(DEFAULTS).ready()
        self.assertEqual(server.invoke("[[1, 2], [3, 4]]", "application/json")[1], b"[3.0, 7.0]")
        self.assertEqual(server.invoke("1,2\n3,4\n", "text/csv", "text/csv")[1], b"3.0\n7.0\n")
        # One row of CSV is an array of one dimension, as in the container.
        self.assertEqual(server.invoke("1,2", "text/csv")[1], b"3.0")
        buffer = io.BytesIO()
        numpy.save(buffer, numpy.array([[1.5, 2.0]]))
        npy = "application/x-npy"
        status, body, content_type = server.invoke(buffer.getvalue(), npy, npy)
        self.assertEqual((status, content_type), (200, npy))
        self.assertEqual(numpy.load(io.BytesIO(body)).tolist(), [3.5])

    def test_an_array_that_needs_unpickling_is_refused(self) -> None:
        server = self.served(DEFAULTS).ready()
        buffer = io.BytesIO()
        numpy.save(buffer, numpy.array([{"a": 1}], dtype=object), allow_pickle=True)
        status, body, _ = server.invoke(buffer.getvalue(), "application/x-npy")
        self.assertEqual(status, 500)
        self.assertIn("allow_pickle", json.loads(body)["message"])


class Refusals(ServeTest):
    def test_types_that_the_defaults_do_not_know_are_415_and_406(self) -> None:
        server = self.served(DEFAULTS).ready()
        status, body, _ = server.invoke("<a/>", "text/xml")
        self.assertEqual(status, 415)
        self.assertIn("text/xml is not supported", json.loads(body)["message"])
        status, body, _ = server.invoke("[1]", "application/json", "text/xml")
        self.assertEqual(status, 406)
        self.assertIn("text/xml is not supported", json.loads(body)["message"])

    def test_an_exception_in_user_code_is_500_and_the_server_goes_on(self) -> None:
        server = self.served(FUNCTIONS).ready()
        for _ in range(3):
            status, body, content_type = server.invoke("1,", "text/csv")
            self.assertEqual((status, content_type), (500, "application/json"))
            self.assertEqual(
                json.loads(body),
                {
                    "error": "ValueError",
                    "message": "could not convert string to float: ''",
                    "in": "input_fn",
                },
            )
        self.assertEqual(server.invoke("1", "text/csv")[0], 200)
        # The traceback is there once, the fact each time.
        eventually("all is logged", lambda: server.log.count("Exception in input_fn") == 3)
        self.assertEqual(server.log.count("Traceback"), 1)

    def test_an_answer_that_is_neither_text_nor_bytes_is_an_error(self) -> None:
        script = "def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return {'a': 1}\n"
        status, body, _ = self.served(script).ready().invoke("1", "text/csv")
        self.assertEqual(status, 500)
        self.assertIn("must return text or bytes, not dict", json.loads(body)["message"])

    def test_a_body_that_is_not_utf8_is_an_error_of_the_request(self) -> None:
        status, body, _ = self.served(FUNCTIONS).ready().invoke(b"\xff", "text/csv")
        self.assertEqual((status, json.loads(body)["in"]), (500, "the request"))

    def test_requests_that_are_no_invocations_are_refused(self) -> None:
        server = self.served(FUNCTIONS).ready()
        self.assertEqual(server.request("GET", "/")[0], 404)
        self.assertEqual(server.request("POST", "/ping", "x")[0], 404)
        large = {"Content-Length": str(10**9)}
        self.assertEqual(server.request("POST", "/invocations", None, large)[0], 413)
        absurd = {"Content-Length": "9" * 5000}
        self.assertEqual(server.request("POST", "/invocations", None, absurd)[0], 413)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b" 411 ", raw.recv(4096).splitlines()[0])
        self.assertEqual(server.ping()[0], 200)


class Loading(ServeTest):
    def unhealthy(self, server: Server, reason: str) -> None:
        eventually("loading ends", lambda: server.ping()[0] != 503)
        status, body = server.ping()
        self.assertEqual(status, 500)
        self.assertIn(reason, json.loads(body)["message"])
        eventually("the reason is logged", lambda: reason in server.log)
        self.assertEqual(server.invoke("1", "text/csv")[0], 500)

    def test_ping_says_no_until_the_model_is_loaded(self) -> None:
        script = "import os\ndef model_fn(model_dir):\n    return open(os.environ['WAIT']).read()\n"
        root = self.root({"inference.py": script})
        gate = root.path / "gate"
        os.mkfifo(gate)
        root.environment["WAIT"] = str(gate)
        server = self.serve(root)
        self.assertEqual(server.ping()[0], 503)
        self.assertEqual(server.invoke("1", "text/csv")[0], 503)
        gate.write_text("go on")
        server.ready()

    def test_without_model_fn_the_server_is_unhealthy(self) -> None:
        self.unhealthy(self.served("def input_fn(b, c): return b\n"), "has no model_fn")

    def test_a_script_that_fails_is_unhealthy_with_its_exception(self) -> None:
        self.unhealthy(self.served("import no_such_package\n"), "No module named 'no_such_package")
        self.unhealthy(self.served("import sys\nsys.exit('usage')\n"), "SystemExit: usage")
        script = "def model_fn(model_dir): return open(model_dir + '/none')\n"
        self.unhealthy(self.served(script), "FileNotFoundError")

    def test_transform_fn_beside_the_others_is_refused(self) -> None:
        script = TRANSFORM + "def input_fn(b, c): return b\n"
        self.unhealthy(self.served(script), "keep either the one or the others")

    def test_the_program_must_lie_at_the_top_of_the_source(self) -> None:
        root = self.root({"app/serve.py": FUNCTIONS}, SAGEMAKER_PROGRAM="app/serve.py")
        self.unhealthy(self.serve(root), "must lie at the top of the source")
        root = self.root({"serve.py": FUNCTIONS})
        self.unhealthy(self.serve(root), "inference.py (SAGEMAKER_PROGRAM) is neither in")

    def test_the_code_may_come_with_the_model(self) -> None:
        root = self.root()
        (root.path / "code").rmdir()
        root.write({"factor": "2", "code/inference.py": FUNCTIONS}, "model")
        answer = self.serve(root).ready().invoke("1", "text/csv")
        self.assertEqual(json.loads(answer[1])[0], [2.0])

    def test_the_users_modules_come_before_ours(self) -> None:
        root = self.root(
            {
                "serve.py": "import train, os\n" + FUNCTIONS + "assert train.MINE\n",
                "train.py": "MINE = True\n",
            },
            SAGEMAKER_PROGRAM="serve.py",
        )
        root.write({"factor": "2"}, "model")
        self.serve(root).ready()

    def test_the_script_finds_where_things_are(self) -> None:
        script = "import json, os\ndef model_fn(d): return dict(os.environ, cwd=os.getcwd(), d=d)\n"
        script += "def transform_fn(m, b, c, a): return json.dumps(m), a\n"
        root = self.root({"inference.py": script}, SAGEMAKER_SUBMIT_DIRECTORY="s3://b/s.tar.gz")
        found = json.loads(self.serve(root).ready().invoke("1", "text/csv")[1])
        at = str(root.path)
        self.assertEqual((found["d"], found["cwd"]), (at + "/model", at + "/code"))
        self.assertEqual(found["SM_MODEL_DIR"], at + "/model")
        self.assertEqual(found["SM_MODULE_NAME"], "inference")
        self.assertEqual(found["SM_MODULE_DIR"], "s3://b/s.tar.gz")
        self.assertEqual(found["OMP_NUM_THREADS"], "1")


class Traffic(ServeTest):
    def test_many_callers_get_their_own_answers(self) -> None:
        server = self.served(FUNCTIONS).ready()
        wrong: list[object] = []

        def call(number: int) -> None:
            own = Client(server.port)
            for at in range(25):
                answer = own.invoke(str(number * 100 + at), "text/csv")
                if json.loads(answer[1])[0] != [3.0 * (number * 100 + at)]:
                    wrong.append(answer)
            own.close()

        callers = [threading.Thread(target=call, args=(number,)) for number in range(16)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(wrong, [])

    def test_user_code_runs_one_request_at_a_time(self) -> None:
        script = """
import threading
busy = threading.Lock()
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    if not busy.acquire(blocking=False):
        raise RuntimeError("two at once")
    sum(range(200000))
    busy.release()
    return "ok", accept
"""
        server = self.served(script).ready()
        statuses: list[int] = []

        def call() -> None:
            own = Client(server.port)
            statuses.extend(own.invoke("1", "text/csv")[0] for _ in range(10))
            own.close()

        callers = [threading.Thread(target=call) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        self.assertEqual(statuses, [200] * 80)

    def test_the_server_ends_when_the_platform_is_gone(self) -> None:
        root = self.root({"inference.py": TRANSFORM})
        platform = (
            "import subprocess, sys\n"
            "process = subprocess.Popen(sys.argv[1:])\n"
            "print(process.pid, flush=True)\nprocess.wait()\n"
        )
        command = [sys.executable, str(HERE / "serve.py"), "--root", str(root.path), "--port", "0"]
        process = self.start([sys.executable, "-c", platform, *command])
        pid = int(next_line(process))
        threads = f"/proc/{pid}/task"
        # Its second thread is the one that watches for the platform's end.
        eventually("it watches", lambda: len(os.listdir(threads)) > 1)
        process.kill()
        try:
            eventually("the server ends", lambda: not is_running(pid))
        finally:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
