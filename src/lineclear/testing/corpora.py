"""What detectors have to find and what they have to leave alone, by detector.

Secrets are put together here so that none stands in the file: scanners of repositories would report it.
"""

import base64
import json
import zlib

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM = "q7Zk2Vb9Xw4Lr8Tn3Ys6Hd1Fg5Jc0Pm"


def letters(count: int, alphabet: str = RANDOM) -> str:
    """So many characters that look random."""
    return (alphabet * (count // len(alphabet) + 1))[:count]


def with_crc(prefix: str) -> str:
    """A token in GitHub's way: 30 characters and their CRC-32 in base 62."""
    body = letters(30)
    value, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        check = BASE62[digit] + check
    return prefix + body + check


def lineclear_key() -> str:
    head = f"lc_live_{letters(12, 'abcdefgh2345')}_{letters(43)}"
    return f"{head}{zlib.crc32(head.encode()):08x}"


def jwt(header: dict[str, str]) -> str:
    def part(value: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part(header)}.{part({'sub': 'somebody'})}.{letters(43)}"


def pem(label: str = "RSA ", body: str = "") -> str:
    dashes = "-" * 5
    lines = body or "\n".join(letters(64) for _ in range(12))
    return f"{dashes}BEGIN {label}PRIVATE KEY{dashes}\n{lines}\n{dashes}END {label}PRIVATE KEY{dashes}"


SECRETS_FOUND: dict[str, tuple[str, ...]] = {
    "lineclear-key": (lineclear_key(),),
    "github-token": (with_crc("gh" + "p_"), with_crc("gh" + "s_"), "gh" + "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"),
    "github-fine-grained-token": ("github_" + f"pat_{letters(22)}_{letters(59)}",),
    "gitlab-token": ("glp" + f"at-{letters(20)}", "glp" + f"at-{letters(9)}_-{letters(9)}"),
    "npm-token": (with_crc("np" + "m_"),),
    "pypi-token": ("pypi-AgEI" + f"cHlwaS5vcmc{letters(140)}",),
    "aws-access-key-id": ("AK" + "IA" + letters(16, "QWERTYU234567"), "AS" + "IA" + letters(16, "ZXCVB765432")),
    "google-api-key": ("AI" + "za" + letters(35),),
    "slack-token": ("xo" + f"xb-123456789012-{letters(24)}", "xo" + f"xp-{letters(40)}"),
    "slack-app-token": ("xa" + f"pp-1-{letters(60)}",),
    "slack-webhook": ("https://hooks.slack" + f".com/services/T01ABCDEF/B01ABCDEF/{letters(24)}",),
    "stripe-key": ("sk_" + f"live_{letters(24)}", "sk_" + f"test_{letters(99)}"),
    "stripe-restricted-key": ("rk_" + f"live_{letters(24)}",),
    "stripe-webhook-secret": ("whs" + f"ec_{letters(32)}",),
    "openai-key": (
        "sk-" + f"{letters(20)}T3Blbk" + f"FJ{letters(20)}",
        "sk-" + f"proj-{letters(60)}-_T3Blbk" + f"FJ{letters(60)}",
    ),
    "anthropic-key": ("sk-" + f"ant-api03-{letters(93)}AA",),
    "huggingface-token": ("hf" + f"_{letters(34, 'abcDEFghiJKL')}",),
    "sendgrid-key": ("S" + f"G.{letters(22)}.{letters(43)}",),
    "digitalocean-token": ("dop" + f"_v1_{letters(64, '0123456789abcdef')}",),
    "jwt": (jwt({"alg": "HS256", "typ": "JWT"}), jwt({"alg": "none"})),
    "private-key": (pem(), pem(""), pem("OPENSSH "), pem("ENCRYPTED "), pem().replace("\n", "\\n")),
}

SECRETS_LEFT: dict[str, tuple[str, ...]] = {
    # The last character of a checksum is another one; a prefix stands in a longer word; a part is too short.
    "lineclear-key": (lineclear_key()[:-1] + "z", lineclear_key().replace("q7", "7q", 1)),
    "github-token": (with_crc("gh" + "p_")[:-1] + "!", with_crc("gh" + "p_").replace("7Z", "Z7"), "ghp_short"),
    "github-fine-grained-token": (f"github_pat_{letters(21)}_{letters(59)}",),
    "gitlab-token": ("glpat-short",),
    "npm-token": (with_crc("np" + "m_").replace("7Z", "Z7"), "npm_config_registry_of_our_own_company_here"),
    "pypi-token": (f"pypi-{letters(100)}",),
    "aws-access-key-id": ("AKIASHORT", "xAKIA" + letters(16, "QWERTYU"), "AKIA" + letters(17, "QWERTYU")),
    "google-api-key": (f"AIza{letters(34)}", f"AIza{letters(36)}"),
    "slack-token": ("xoxb-short", "foxox-" + letters(20)),
    "slack-app-token": ("xapp-one",),
    "slack-webhook": (
        "https://hooks.slack.com/services/",
        "https://hooks.slack.example/services/T01ABCDEF/B01ABCDEF/a",
    ),
    "stripe-key": ("sk_live_short", f"task_test_{letters(30)}"),
    "stripe-restricted-key": ("rk_live_short",),
    "stripe-webhook-secret": ("whsec_short",),
    "openai-key": (f"sk-{letters(48)}", "task-proj-plan-for-the-next-quarter-and-beyond"),
    "anthropic-key": (f"sk-ant-api03-{letters(20)}",),
    "huggingface-token": ("hf_" + letters(34), "hf_hub_download"),
    "sendgrid-key": (f"SG.{letters(22)}", "SG.NS.1"),
    "digitalocean-token": ("dop_v1_" + letters(64),),
    "jwt": (f"eyJ{letters(20)}.{letters(20)}.{letters(20)}", jwt({"typ": "JWT"}), "eyJhbGciOi"),
    "private-key": (
        pem().replace("PRIVATE", "PUBLIC"),
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN a lower PRIVATE KEY-----",
    ),
}

PERSONAL_FOUND: dict[str, tuple[str, ...]] = {
    "email": ("ada@example.com", "first.last+tag@sub.example.co.uk", "o'brien@example.museum", "a@b-c.de"),
    "phone": ("+1 555 010 9999", "+44 (0)20 7946 0958", "+4915112345678", "+33-1-23-45-67-89"),
    "payment-card": (
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4222222222222",
        "5555 5555 5555 4444",
        "2223003122003222",
        "3782 822463 10005",
        "6011111111111117",
        "3530111333300000",
        "30569309025904",
        "6200000000000005",
    ),
    "iban": (
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
    ),
}

PERSONAL_LEFT: dict[str, tuple[str, ...]] = {
    "email": ("ada@localhost", "@example.com", "ada@", "a..b@example.com", "user@1.2.3.4", "price @ 4.50 each"),
    "phone": ("+12345", "555 010 9999", "1+15550109999", "+1234567890123456", "C++ 17 2020"),
    "payment-card": (
        "4111111111111112",
        "411111111111111",
        "0.4111111111111111",
        "1234567812345670",
        "41111111111111111",
        "order A4111111111111111",
        "0000 0000 0000 0000",
    ),
    "iban": ("DE88370400440532013000", "DE8937040044053201300", "XX89370400440532013000", "DE89370400440532013000A"),
}

NATIONAL_FOUND: dict[str, tuple[str, ...]] = {
    "us-ssn": ("536-90-4399", "123-45-6789", "536 90 4399"),
    "uk-nhs-number": ("9434765919", "943 476 5919", "943-476-5919"),
    "de-tax-id": ("86095742719", "86 095 742 719", "65929970489"),
    "es-dni": ("12345678Z", "54362315-K", "X1234567L", "X-5253868R".replace("-", "")),
    "fr-nir": ("255081416802538", "2 55 08 14 168 025 38"),
    "nl-bsn": ("111222333", "1234.56.782"),
    "in-aadhaar": ("234123412346", "2341 2341 2346"),
    "it-fiscal-code": ("RCCMNL83S18D969H", "RSSMRA85T10A562S"),
    "pl-pesel": ("44051401359", "02070803628"),
    "br-cpf": ("390.533.447-05", "39053344705", "529.982.247-25", "111.444.777-35"),
    "ca-sin": ("123-456-782", "130 692 544"),
    "ch-ahv": ("756.9217.0769.85", "7569217076985"),
    "se-personal-number": ("811228-9874", "19811228-9874", "8803200016"),
}

NATIONAL_LEFT: dict[str, tuple[str, ...]] = {
    "us-ssn": ("000-12-3456", "666-12-3456", "900-12-3456", "536-00-4399", "536-90-0000", "078-05-1120", "536904399"),
    "uk-nhs-number": ("9434765918", "0000000000", "943 476 59190"),
    "de-tax-id": ("86095742718", "12345678901", "11111111111", "06095742719"),
    "es-dni": ("12345678A", "X1234567A", "1234567Z", "A12345678Z"),
    "fr-nir": ("255081416802539", "955081416802538"),
    "nl-bsn": ("111222334", "000000000", "0.111222333"),
    "in-aadhaar": ("234123412347", "134123412346"),
    "it-fiscal-code": ("RCCMNL83S18D969A", "RCCMNL83S18D969"),
    "pl-pesel": ("44051401358", "44951401359", "12345678901"),
    "br-cpf": ("390.533.447-06", "11111111111"),
    "ca-sin": ("123-456-783", "123456782", "046-454-286"),
    "ch-ahv": ("756.9217.0769.84", "757.9217.0769.85"),
    "se-personal-number": ("811228-9875", "811328-9874", "811200-9874"),
}

PROSE = (
    "The parcel of 2026-11-22 went out at 07:15, weight 12.5 kg, order 1048576, part no. AB-1234/56. "
    "Version 3.11.7 of the program was 4,096 bytes longer. See https://example.com/a_b-c?d=e&f=1#g and RFC 5321. "
    "BEGIN with the second chapter - PRIVATE notes are at the END. sk- and eyJ are prefixes; so are gh and AKIA."
)
"""Text in which nothing stands."""
