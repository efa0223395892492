// The STUN and TURN servers that the relay names in Link (RFC 9725, 4.6), as RTCConfiguration has them. Used by whep.js.

const LINK = /<([^>]*)>((?:\s*;\s*[\w-]+="[^"]*")*)/g;
const PARAMETER = /;\s*([\w-]+)="([^"]*)"/g;

/** Of the header, whose values fetch joins with commas; [] where there is none. */
export function iceServers(header) {
  const links = [...(header ?? "").matchAll(LINK)].map(([, urls, rest]) => {
    const parameters = Object.fromEntries([...rest.matchAll(PARAMETER)].map(([, name, value]) => [name, value]));
    return { urls, ...parameters };
  });
  return links
    .filter((link) => link.rel === "ice-server")
    .map(({ urls, username, credential }) => (username === undefined ? { urls } : { urls, username, credential }));
}
