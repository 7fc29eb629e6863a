"""Rules of personal data leave numbers and names of other kinds, and find what stands beside them."""

import time

import pytest

from gen.config.curation import PersonalData
from gen.data.curation.rules import personal_data
from gen.data.document import Document

ORDINARY = """Version: 1.2.3.4, numpy==5.26.44.31, section 31.2.1.41, firmware 45.4.3.2, then 1.2.3.5
the network 192.52.193.0/24
203.0.113.7 198.51.100.2 192.0.2.1 2001:db8::1 224.0.0.1
commit 1234567890123456789012345678901234567890, ISBN 0-306-40615-2, ISSN 0317-8471, EAN 4006381333931
batch sizes 128 256 1024 and 256 512 1024, of 200 300 4000
call 1000000 times, the call 1234567 returns, cell 2023-11-02, call 2024-01-15 10:30, mobile 2015 2016
phone: 192.168.1.17
+3.14159265 +0.123456789 +40.7127760 1.602 176 6208
drawn 03 12 25 31 44
00 01 02 03 04 05 06 07
00000010: 0123 4567 8910 1112
0040 1234 5678 9abc
138 1024 2048, vol. 138 2019 2020
3530 1113 3330 0000 3531
In 2008 Wall Street fell, in 2012 Google Drive began, the 2005 Supreme Court, 9 Circuit Court, 2 District Court judges
On 12 March Dr. Smith came, on 17 March St. Patrick
Speicherplatz 512 MB, Tabellenplatz 3
git@github.com:acme/code.git, q@k.transpose(-2, -1), x@w.mT, h@self.weight + b, logo@2x.png
y = a @ x.at[0]
sk-some-long-name-of-a-style-sheet-with-2-hyphens-everywhere
access_token: AccessTokenV2Response, secret_key = settings.API_KEY_2nd_of_all, password=Base64Encoder2Something
diff +2023-11-02 1200 lines"""


@pytest.mark.parametrize("line", ORDINARY.split("\n"))
def test_ordinary_numbers_and_code_stay(line):
  verdict = personal_data.replace_personal_data(Document("a", line), PersonalData())
  assert verdict == Document("a", line), verdict


@pytest.mark.parametrize(
  ("text", "left"),
  [
    ("212-555-0187 212-555-0188", "<phone> <phone>"),
    ("4111 1111 1111 1111 1225", "<card> 1225"),
    ("Registrant Phone: +1.2125550187", "Registrant Phone: <phone>"),
    ("jane@acme.org(work)", "<email>(work)"),
    ("McDonald (at) acme (dot) org", "<email>"),
    ("ip: 1.2.3.4, then 1.1.1.1", "ip: <ip>, then <ip>"),
    ("in 1999 at 1600 Pennsylvania Avenue", "in 1999 at <address>"),
    ("call 212-555-0187, phone 5550187", "call <phone>, phone <phone>"),
    ("password='CorrectHorse2Battery'", "password='<key>'"),
    ("a bearer aZ9xQ1bT7cR4dL2m", "a bearer <key>"),
    ("sk-aZ9xQ1bT7cR4dL2maZ9xQ1bT7cR4dL2m", "<key>"),
    ("01 42 68 53 00 or 020 7946 0958", "<phone> or <phone>"),
  ],
)
def test_personal_data_beside_other_text_is_replaced(text, left):
  verdict = personal_data.replace_personal_data(Document("a", text), PersonalData())
  assert verdict.document.text == left


@pytest.mark.parametrize("part", ["a'", "+1 2345 ", "Aaaa Baaa, ", "sk-a"])
def test_time_grows_with_the_length_alone(part):
  def seconds(size):
    document = Document("a", part * (size // len(part)))
    begin = time.process_time()
    personal_data.replace_personal_data(document, PersonalData())
    return time.process_time() - begin

  # For four times the text a square takes sixteen times as long. The second term is a tick of the clock.
  assert seconds(40_000) < 8 * seconds(10_000) + 0.05
