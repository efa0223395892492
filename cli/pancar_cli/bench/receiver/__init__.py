"""A receiver of one video as a browser has it, without the pixels: what it asks for, what it could show, and when.

Pure: `receiver` is driven with packets and the time; `pancar_cli.bench.impair` puts it behind a socket. Where a rule is
not an RFC's, it is libwebrtc's, and its file is named.
"""
