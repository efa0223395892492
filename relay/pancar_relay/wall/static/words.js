// All that the wall says, in one place. Used by player.js and wall.js.

/** A state in a word or two. */
export const LABEL = Object.freeze({
  waiting: "Waiting",
  live: "Live",
  "signal-lost": "Signal lost",
  offline: "Offline",
  paused: "Paused",
  "not-allowed": "Not allowed",
  "not-playable": "Not playable here",
});

/** What a state means where nothing more precise is known. */
export const MEANING = Object.freeze({
  waiting: "The first picture is on its way.",
  live: "",
  "signal-lost": "No new picture arrives.",
  offline: "The camera cannot be reached.",
  paused: "The camera is paused for privacy.",
  "not-allowed": "Your access does not cover this camera, or has ended.",
  "not-playable":
    "This browser has no decoder for the camera's H.264. Firefox needs its OpenH264 plugin; Chrome, Edge and Safari have one.",
});

/** A camera's reason in two or three words, for tiles without room for its message. */
export const BRIEF = Object.freeze({
  Unreachable: "Not reachable",
  Refused: "Connection refused",
  Timeout: "No answer",
  Unauthorized: "Wrong password",
  NotFound: "No such stream",
  SessionLimit: "Too many sessions",
  NoVideo: "No video",
  UnsupportedCodec: "Codec not supported",
  UnsupportedTransport: "Transport refused",
  BFrames: "B-frames",
  NoMedia: "Sends nothing",
  NoKeyFrame: "No key frame",
  NoParameterSets: "Unreadable video",
  PacketLoss: "Packets lost",
  Stalled: "Sends no pictures",
  Disconnected: "Connection lost",
  ProtocolError: "Faulty RTSP",
});

export const NO_RELAY = "No connection to the relay. Trying again.";
export const ENDED = "Your access has ended. Ask for a new link.";
export const NO_CAMERA = "There is no such camera here.";

/** A duration for people: "7 s", "3 min 20 s", "2 h 5 min", "4 days". */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** Time of day, with the day where it is another one. */
export function moment(date, now = new Date()) {
  const time = date.toLocaleTimeString([], { hour12: false });
  return date.toDateString() === now.toDateString() ? time : `${date.toLocaleDateString()} ${time}`;
}
