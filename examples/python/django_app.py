"""Run it: `make wheel && pip install python/dist/*.whl django && anp-proxy dev --app examples.python.django_app:app`

The package is not on PyPI yet; `make wheel` builds it.

Django in one file: a guest book with a session and a form. In a browser: http://127.0.0.1:8080/
"""

import os

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import engines
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    # Sessions live in signed cookies, and end with this key.
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or os.urandom(32).hex(),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    # Names that callers use are checked by the gateway, which knows its endpoints.
    ALLOWED_HOSTS=["*"],
    # The gateway says how callers reached it.
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()

PAGE = """<!doctype html><title>Guest book</title>
<form method="post">{% csrf_token %}<input name="name" placeholder="Your name"> <button>Sign</button></form>
<ul>{% for name in names %}<li>{{ name }}</li>{% endfor %}</ul>
"""


def book(request: HttpRequest) -> HttpResponse:
    """Show who signed, and take a name."""
    names = request.session.get("names", [])
    if request.method == "POST":
        request.session["names"] = [*names, request.POST["name"][:50]][-20:]
        return HttpResponseRedirect(request.path)
    page = engines["django"].from_string(PAGE)
    return HttpResponse(page.render({"names": names}, request))


urlpatterns = [path("", book)]
app = get_asgi_application()
