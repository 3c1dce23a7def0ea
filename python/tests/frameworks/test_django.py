"""Django by ASGI: sessions, a form with its token against forgery, streams, files that are sent up."""

import asyncio
import re

import httpx2
import pytest

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402

settings.configure(
    DEBUG=False, SECRET_KEY="only for tests", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    # Django's own way: what the gateway says of the caller's scheme is believed.
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.template import engines  # noqa: E402
from django.urls import path  # noqa: E402

from binary import soon  # noqa: E402
from http11 import read_body, read_head  # noqa: E402

pytestmark = pytest.mark.asyncio
FORM = '<form method="post">{% csrf_token %}<input name="name"></form>{{ name }}'
ended = None


def form(request):
    """A form that remembers what it was sent, in a thread as Django runs such views."""
    if request.method == "POST":
        request.session["name"] = request.POST["name"]
    template = engines["django"].from_string(FORM)
    return HttpResponse(template.render({"name": request.session.get("name", "nobody")}, request))


async def where(request):
    """What the app makes of its place."""
    return JsonResponse({"uri": request.build_absolute_uri(), "root": request.META.get("SCRIPT_NAME", ""), "path": request.path_info})


async def size(request):
    """The size of a file that was sent up."""
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size})


async def stream(_request):
    """Parts without end."""

    async def parts():
        try:
            while True:
                yield b"part"
                await asyncio.sleep(0.005)
        finally:
            ended.set()

    return StreamingHttpResponse(parts())


urlpatterns = [path("form", form), path("where", where), path("size", size), path("stream", stream)]


def client(served):
    """A client that keeps cookies."""
    return httpx2.AsyncClient(base_url=served.gateway.url, trust_env=False)


async def test_a_form_with_a_session_and_a_token(serve):
    served = await serve(get_asgi_application())
    async with client(served) as caller:
        assert (await caller.post("/form", data={"name": "eve"})).status_code == 403
        page = await caller.get("/form")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
        answer = await caller.post("/form", data={"name": "Ünï", "csrfmiddlewaretoken": token})
        assert answer.status_code == 200
        assert answer.text.endswith("</form>Ünï")
        # The token's cookie and the session's, both of them in one answer and in every request from here.
        assert len(answer.headers.get_list("set-cookie")) == 2
        assert sorted(caller.cookies) == ["csrftoken", "sessionid"]
        assert (await caller.get("/form")).text.endswith("</form>Ünï")


async def test_addresses_and_files(serve):
    served = await serve(get_asgi_application(), root_path="/app")
    async with client(served) as caller:
        answer = await caller.get("/where", params={"a": "b"}, headers={"host": "shop.example"})
        assert answer.json() == {"uri": "http://shop.example/app/where?a=b", "root": "/app", "path": "/where"}
        page = await caller.get("/form")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
        data = b"x" * 3_000_000
        answer = await caller.post("/size", data={"csrfmiddlewaretoken": token}, files={"file": ("a.bin", data)})
        assert answer.json() == {"name": "a.bin", "size": len(data)}


async def test_a_stream_ends_when_its_caller_leaves(serve):
    global ended
    ended = asyncio.Event()
    served = await serve(get_asgi_application())
    async with served.caller() as caller:
        await caller.send("GET", "/stream")
        head = await soon(read_head(caller.reader))
        parts = read_body(caller.reader, head)
        assert (await soon(anext(parts))).startswith(b"part")
    await soon(ended.wait())
