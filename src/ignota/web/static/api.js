// Calls to the server: the token from the address, patience where it is busy, one line where it refuses.

const token = (() => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("ignota-token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("ignota-token");
})();

export class Refused extends Error {
  constructor(status, told) {
    super(told.error || `the server answered ${status}`);
    this.status = status;
    this.lesson = told.lesson;
  }
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function call(path, options = {}, patience = 120) {
  const headers = { ...(options.headers || {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  for (let waited = 0; ; ) {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Refused(0, { error: "the server does not answer: is it still running?" });
    }
    if (answer.ok) return answer;
    const seconds = Number(answer.headers.get("retry-after")) || 1;
    if (answer.status !== 503 || waited + seconds > patience) {
      throw new Refused(answer.status, await answer.json().catch(() => ({})));
    }
    waited += seconds;
    await pause(seconds * (0.5 + Math.random()));
  }
}

export const get = async (path) => (await call(path)).json();

export const buffer = async (path) => (await call(path)).arrayBuffer();

export const post = async (path, body, signal = null) => (await send(path, body, signal)).json();

export const blob = async (path, body) => (await send(path, body)).blob();

export const segment = async (file, name) => {
  const body = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } };
  return (await call(`api/segment?name=${encodeURIComponent(name.slice(-200))}`, body)).json();
};

const send = (path, body, signal = null) =>
  call(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal });
