"""`pancar demo`: synthetic cameras behind an RTSP server of our own, and the very path of `pancar up` over them."""
