"""What of the client-server API is not served yet, by chapter of the spec: the whole list.

An endpoint that is added is taken off here: test_routes.py compares both ways.
"""

from collections.abc import Mapping

V1, V3 = "/_matrix/client/v1", "/_matrix/client/v3"
MEDIA, OLD_MEDIA = f"{V1}/media", "/_matrix/media/v3"
SESSION_KEYS = f"{V3}/room_keys/keys/{{roomId}}/{{sessionId}}"

OWED: Mapping[str, tuple[str, ...]] = {
    "User Directory": (f"POST {V3}/user_directory/search",),
    "Client Authentication": (
        f"POST {V1}/login/get_token",
        f"POST {V3}/refresh",
        f"GET {V1}/auth_metadata",
        f"GET {V3}/login/sso/redirect",
        f"GET {V3}/login/sso/redirect/{{idpId}}",
    ),
    "Adding Account Administrative Contact Information": (
        f"GET {V3}/account/3pid",
        f"POST {V3}/account/3pid",
        f"POST {V3}/account/3pid/add",
        f"POST {V3}/account/3pid/bind",
        f"POST {V3}/account/3pid/delete",
        f"POST {V3}/account/3pid/unbind",
        f"POST {V3}/account/3pid/email/requestToken",
        f"POST {V3}/account/3pid/msisdn/requestToken",
        f"POST {V3}/account/password/email/requestToken",
        f"POST {V3}/account/password/msisdn/requestToken",
        f"POST {V3}/register/email/requestToken",
        f"POST {V3}/register/msisdn/requestToken",
    ),
    "Device Management": (
        f"GET {V3}/devices",
        f"GET {V3}/devices/{{deviceId}}",
        f"PUT {V3}/devices/{{deviceId}}",
        f"DELETE {V3}/devices/{{deviceId}}",
        f"POST {V3}/delete_devices",
    ),
    "Send-to-Device messaging": (f"PUT {V3}/sendToDevice/{{eventType}}/{{txnId}}",),
    "End-to-End Encryption": (
        f"POST {V3}/keys/upload",
        f"POST {V3}/keys/query",
        f"POST {V3}/keys/claim",
        f"GET {V3}/keys/changes",
        f"POST {V3}/keys/device_signing/upload",
        f"POST {V3}/keys/signatures/upload",
        f"GET {V3}/room_keys/version",
        f"POST {V3}/room_keys/version",
        f"GET {V3}/room_keys/version/{{version}}",
        f"PUT {V3}/room_keys/version/{{version}}",
        f"DELETE {V3}/room_keys/version/{{version}}",
        *(f"{method} {V3}/room_keys/keys" for method in ("GET", "PUT", "DELETE")),
        *(f"{method} {V3}/room_keys/keys/{{roomId}}" for method in ("GET", "PUT", "DELETE")),
        *(f"{method} {SESSION_KEYS}" for method in ("GET", "PUT", "DELETE")),
    ),
    "Push Notifications": (
        f"GET {V3}/notifications",
        f"GET {V3}/pushers",
        f"POST {V3}/pushers/set",
    ),
    "Content repository": (
        f"GET {MEDIA}/config",
        f"GET {MEDIA}/download/{{serverName}}/{{mediaId}}",
        f"GET {MEDIA}/download/{{serverName}}/{{mediaId}}/{{fileName}}",
        f"GET {MEDIA}/preview_url",
        f"GET {MEDIA}/thumbnail/{{serverName}}/{{mediaId}}",
        f"GET {OLD_MEDIA}/config",
        f"GET {OLD_MEDIA}/download/{{serverName}}/{{mediaId}}",
        f"GET {OLD_MEDIA}/download/{{serverName}}/{{mediaId}}/{{fileName}}",
        f"GET {OLD_MEDIA}/preview_url",
        f"GET {OLD_MEDIA}/thumbnail/{{serverName}}/{{mediaId}}",
        f"POST {OLD_MEDIA}/upload",
        f"PUT {OLD_MEDIA}/upload/{{serverName}}/{{mediaId}}",
        "POST /_matrix/media/v1/create",
    ),
    "OpenID": (f"POST {V3}/user/{{userId}}/openid/request_token",),
    "Server Administration": (
        f"GET {V3}/admin/whois/{{userId}}",
        f"GET {V1}/admin/lock/{{userId}}",
        f"PUT {V1}/admin/lock/{{userId}}",
        f"GET {V1}/admin/suspend/{{userId}}",
        f"PUT {V1}/admin/suspend/{{userId}}",
    ),
    "Server Discovery": (
        "GET /.well-known/matrix/policy_server",
        "GET /.well-known/matrix/support",
    ),
    "Application Services": (
        f"POST {V1}/appservice/{{appserviceId}}/ping",
        f"PUT {V3}/directory/list/appservice/{{networkId}}/{{roomId}}",
    ),
}
