// An agq of a program's own: over a new data directory, on a TCP port and a Unix socket.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The key that a server with a password asks for. */
export const PASSWORD = 'a key of the tests';

/** Loads a client from the folder that npm filled. */
export const require = createRequire(join(process.env.AGQ_CLIENTS_NODE, 'package.json'));

/** What is tried on every connection: each protocol given, with a password and without. */
export function variants(protocols) {
    return protocols.flatMap((protocol) =>
        [undefined, PASSWORD].map((password) => ({
            protocol,
            password,
            title: `RESP${protocol}, ${password ? 'with a password' : 'without a password'}`,
        })),
    );
}

export class Agq {
    #directory = mkdtempSync(join(tmpdir(), 'agq-'));
    #password;
    #child;
    #log = [];
    port = 0;

    /** Starts a server that asks for the password, or for none. */
    static async start(password) {
        const agq = new Agq();
        agq.#password = password;
        await agq.#spawn();
        return agq;
    }

    get socket() {
        return join(this.#directory, 'agq.sock');
    }

    async #spawn() {
        const key = this.#password ? ['--session-key', this.#password] : ['--no-auth'];
        const place = ['--data-dir', this.#directory, '--bind', `127.0.0.1:${this.port}`, '--socket', this.socket];
        const env = { ...process.env, AGQ_LOG: 'info' };
        const child = spawn(process.env.AGQ_BIN, [...place, ...key], { env, stdio: ['ignore', 'ignore', 'pipe'] });
        this.#child = child;
        const ended = once(child, 'close').then(() => {
            throw new Error(`agq ended:\n${this.#log.join('\n')}`);
        });
        const ready = new Promise((resolve) => {
            createInterface({ input: child.stderr }).on('line', (line) => {
                this.#log.push(line);
                const [, port] = line.match(/ ready .*127\.0\.0\.1:(\d+)/) ?? [];
                if (port) resolve(Number(port));
            });
        });
        this.port = await Promise.race([ready, ended]);
        // Once it was ready, who kills it knows that it ends.
        ended.catch(() => {});
    }

    /** SIGKILL; returns once the process is gone. */
    async kill() {
        if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
        const gone = once(this.#child, 'close');
        this.#child.kill('SIGKILL');
        await gone;
    }

    /** Starts it again over what it has stored, on the port it had. */
    async restart() {
        await this.kill();
        await this.#spawn();
    }

    /** Ends it and throws its data away. */
    async end() {
        await this.kill();
        rmSync(this.#directory, { recursive: true, force: true });
    }
}

/** Asks `look` again and again until it returns something true, and returns that. */
export async function eventually(look) {
    const until = Date.now() + 20_000;
    for (;;) {
        const found = await look();
        if (found) return found;
        assert.ok(Date.now() < until, `in 20 s there was never: ${look}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
    }
}

/** The lines `name:value` of an INFO reply. */
export function fields(info) {
    return Object.fromEntries(info.split('\r\n').filter((line) => line.includes(':')).map((line) => line.split(/:(.*)/s)));
}

/** A plan of one task, and what a worker that knows only lists sees of its job. */
export const PLAN = JSON.stringify({
    plan_id: 'greet',
    tasks: [{ task_number: 1, command: 'echo', args: ['{{input.name}}'] }],
});
