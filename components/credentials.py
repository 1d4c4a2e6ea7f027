"""What is secret in addresses, taken out before they are written down."""

import re

# user:password@ of any URL, the password as it is pasted, with slashes in it, but no port and path
# with an @ in it; a lone user@ too, which on https is a token, but for ssh's, a name
_USERINFO = re.compile(
    r"\b(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^\s/@:'\"]*)(?P<rest>:(?!\d+/)[^\s@'\"]*)?@", re.I
)
_SIGNATURE = re.compile(
    r"(?P<key>[?&](?:[\w-]*(?:signature|token|secret|password|credential)|sig|key)=)[^&\s'\"]+",
    re.I,
)
_ROUTES = ("ssh", "git+ssh", "sftp")  # their users are names, and keys are elsewhere


def without_credentials(text: str) -> str:
    """Returns a text with the credentials of the URLs in it left out.

    `https://user:password@host/` becomes `https://host/`, and signed parts of a query such as
    `?X-Amz-Signature=` lose their values.
    """
    return _SIGNATURE.sub(r"\g<key>***", _USERINFO.sub(_host, text))


def _host(match: re.Match[str]) -> str:
    keeps_user = match["scheme"].lower() in _ROUTES and match["rest"] is None
    return f"{match['scheme']}://" + (f"{match['user']}@" if keeps_user else "")
