// node-redis (npm's `redis`), unmodified: what each kind of command returns, over RESP2 and RESP3.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { Agq, PASSWORD, PLAN, eventually, fields, require, variants } from './agq.mjs';

const { createClient, RESP_TYPES, VerbatimString, WatchError } = require('redis');

for (const { title, protocol, password } of variants([2, 3])) {
    describe(title, () => {
        let agq, redis;
        const opened = [];

        const open = async (more = {}) => {
            const client = createClient({ RESP: protocol, password, socket: { port: agq.port }, ...more });
            client.on('error', () => {});
            opened.push(client);
            return client.connect();
        };

        before(async () => {
            agq = await Agq.start(password);
        });
        beforeEach(async () => {
            redis = await open();
            await redis.flushAll();
        });
        afterEach(() => {
            for (const client of opened.splice(0)) if (client.isOpen) client.destroy();
        });
        after(() => agq.end());

        test('the connection says who it is and what it speaks', async () => {
            assert.equal(await redis.ping(), 'PONG');
            const info = await redis.clientInfo();
            assert.equal(info.resp, protocol);
            assert.equal(info.libName, 'node-redis');
            assert.match(info.libVer, /^6\./);
            const named = await open({ name: 'me', database: 3, clientInfoTag: 'tag' });
            assert.equal(await named.clientGetName(), 'me');
            assert.equal((await named.clientInfo()).db, 3);
            assert.equal((await named.clientInfo()).libName, 'node-redis(tag)');
            const hello = await redis.hello();
            assert.equal(hello.proto, protocol);
            assert.equal(hello.server, 'redis');
            assert.deepEqual(hello.modules, []);
        });

        test('a wrong password is refused, and none is when one is asked for', async () => {
            if (!password) return;
            for (const wrong of ['wrong', undefined]) {
                await assert.rejects(
                    open({ password: wrong, socket: { port: agq.port, reconnectStrategy: false } }).then((c) => c.get('k')),
                    /WRONGPASS|NOAUTH/,
                );
            }
            const user = await open({ username: 'default' });
            assert.equal(await user.ping(), 'PONG');
        });

        test('the same over a Unix socket and over a URL', async () => {
            await redis.set('k', 'v');
            const unix = await open({ socket: { path: agq.socket } });
            assert.equal(await unix.get('k'), 'v');
            const secret = password ? `:${encodeURIComponent(PASSWORD)}@` : '';
            const url = createClient({ url: `redis://${secret}127.0.0.1:${agq.port}/2`, RESP: protocol });
            opened.push(url);
            await url.connect();
            assert.equal(await url.get('k'), null);
            await redis.move('k', 2);
            assert.equal(await url.get('k'), 'v');
        });

        test('strings', async () => {
            assert.equal(await redis.set('s', 'Grüße'), 'OK');
            assert.equal(await redis.get('s'), 'Grüße');
            assert.equal(await redis.set('s', 'new', { condition: 'NX' }), null);
            assert.equal(await redis.set('s', 'new', { condition: 'XX', GET: true }), 'Grüße');
            assert.equal(await redis.get('none'), null);
            assert.equal(await redis.incrBy('n', 5), 5);
            assert.equal(await redis.incrByFloat('n', 0.25), '5.25');
            assert.deepEqual(await redis.mGet(['s', 'none', 'n']), ['new', null, '5.25']);
            assert.equal(await redis.mSet({ a: '1', b: '2' }), 'OK');
            assert.equal(await redis.mSetNX({ b: '3', c: '4' }), 0);
            assert.equal(await redis.append('a', '23'), 3);
            assert.equal(await redis.getDel('a'), '123');
            assert.equal(await redis.setBit('bits', 7, 1), 0);
            assert.equal(await redis.bitCount('bits'), 1);
            assert.deepEqual(await redis.lcs('s', 's'), 'new');
            await assert.rejects(redis.lPush('s', 'x'), { message: /^WRONGTYPE / });
            const bytes = Buffer.from([0, 255, 13, 10]);
            await redis.set('bytes', bytes);
            const buffers = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
            assert.deepEqual(await buffers.get('bytes'), bytes);
            const dump = await buffers.dump('bytes');
            assert.equal(await redis.restore('again', 0, dump), 'OK');
            assert.deepEqual(await buffers.get('again'), bytes);
        });

        test('a value of several megabytes comes back whole', async () => {
            const large = 'x0123456789'.repeat(400_000);
            await redis.set('large', large);
            assert.equal(await redis.get('large'), large);
        });

        test('lists', async () => {
            assert.equal(await redis.rPush('l', ['a', 'b', 'c', 'b']), 4);
            assert.equal(await redis.lPushX('none', 'a'), 0);
            assert.deepEqual(await redis.lRange('l', 0, -1), ['a', 'b', 'c', 'b']);
            assert.equal(await redis.lPos('l', 'b', { RANK: -1 }), 3);
            assert.equal(await redis.lPos('l', 'none'), null);
            assert.deepEqual(await redis.lPosCount('l', 'b', 0), [1, 3]);
            assert.equal(await redis.lMove('l', 'm', 'LEFT', 'RIGHT'), 'a');
            assert.deepEqual(await redis.lmPop(['none', 'l'], 'RIGHT', { COUNT: 2 }), ['l', ['b', 'c']]);
            assert.equal(await redis.lInsert('m', 'AFTER', 'a', 'z'), 2);
            assert.deepEqual(await redis.lPopCount('m', 9), ['a', 'z']);
            assert.equal(await redis.lPop('m'), null);
            assert.equal(await redis.lPopCount('m', 2), null);
        });

        test('hashes', async () => {
            assert.equal(await redis.hSet('h', { f: '1', g: 'two' }), 2);
            const all = await redis.hGetAll('h');
            assert.deepEqual({ ...all }, { f: '1', g: 'two' });
            assert.deepEqual({ ...(await redis.hGetAll('none')) }, {});
            assert.deepEqual(await redis.hmGet('h', ['g', 'none']), ['two', null]);
            assert.equal(await redis.hIncrBy('h', 'f', 41), 42);
            assert.equal(await redis.hIncrByFloat('h', 'f', 0.5), '42.5');
            assert.equal(await redis.hExists('h', 'none'), 0);
            assert.deepEqual((await redis.hKeys('h')).sort(), ['f', 'g']);
            assert.equal((await redis.hRandFieldCountWithValues('h', 5)).length, 2);
            const map = await redis.withTypeMapping({ [RESP_TYPES.MAP]: Map }).hGetAll('h');
            assert.deepEqual(map, new Map([['f', '42.5'], ['g', 'two']]));
        });

        test('sets', async () => {
            assert.equal(await redis.sAdd('s', ['1', '2', 'x']), 3);
            assert.equal(await redis.sAdd('t', ['2', 'y']), 2);
            assert.deepEqual((await redis.sMembers('s')).sort(), ['1', '2', 'x']);
            assert.deepEqual(await redis.sInter(['s', 't']), ['2']);
            assert.deepEqual((await redis.sUnion(['s', 't'])).sort(), ['1', '2', 'x', 'y']);
            assert.deepEqual((await redis.sDiff(['s', 't'])).sort(), ['1', 'x']);
            assert.equal(await redis.sInterCard(['s', 't']), 1);
            assert.deepEqual(await redis.smIsMember('s', ['1', 'none']), [1, 0]);
            assert.equal(await redis.sMove('s', 't', 'x'), 1);
            assert.equal((await redis.sPopCount('s', 9)).length, 2);
            assert.equal(await redis.sPop('s'), null);
            if (protocol === 3) {
                const sets = redis.withTypeMapping({ [RESP_TYPES.SET]: Set });
                assert.deepEqual(await sets.sMembers('t'), new Set(await redis.sMembers('t')));
            }
        });

        test('sorted sets', async () => {
            const members = [{ value: 'a', score: 1 }, { value: 'b', score: 2.5 }, { value: 'c', score: Infinity }];
            assert.equal(await redis.zAdd('z', members), 3);
            assert.equal(await redis.zScore('z', 'b'), 2.5);
            assert.equal(await redis.zScore('z', 'none'), null);
            assert.deepEqual(await redis.zmScore('z', ['c', 'none']), [Infinity, null]);
            assert.deepEqual(await redis.zRangeWithScores('z', 0, -1), members);
            assert.deepEqual(await redis.zRange('z', '(1', '+inf', { BY: 'SCORE', LIMIT: { offset: 0, count: 1 } }), ['b']);
            assert.equal(await redis.zIncrBy('z', 0.5, 'a'), 1.5);
            assert.equal(await redis.zAddIncr('z', { value: 'a', score: 1 }), 2.5);
            assert.equal(await redis.zRank('z', 'b'), 1);
            assert.deepEqual(await redis.zPopMax('z'), { value: 'c', score: Infinity });
            assert.deepEqual(await redis.zPopMinCount('z', 1), [{ value: 'a', score: 2.5 }]);
            assert.equal(await redis.zUnionStore('u', [{ key: 'z', weight: 2 }]), 1);
            assert.deepEqual(await redis.zInterWithScores(['z', 'u']), [{ value: 'b', score: 7.5 }]);
            assert.deepEqual(await redis.zDiffWithScores(['z', 'u']), []);
            assert.deepEqual(await redis.zRandMemberCountWithScores('z', 2), [{ value: 'b', score: 2.5 }]);
            assert.deepEqual(await redis.zmPop(['none', 'z'], 'MIN'), { key: 'z', members: [{ value: 'b', score: 2.5 }] });
            assert.equal(await redis.zPopMin('z'), null);
        });

        test('commands given together are answered in order', async () => {
            const count = 2_000;
            const replies = await Promise.all(Array.from({ length: count }, () => redis.incr('n')));
            assert.deepEqual(replies, Array.from({ length: count }, (_, i) => i + 1));
            const piped = await redis.multi().set('a', '1').get('a').hGetAll('none').execAsPipeline();
            assert.deepEqual(piped.slice(0, 2), ['OK', '1']);
            assert.deepEqual({ ...piped[2] }, {});
        });

        test('transactions', async () => {
            const replies = await redis.multi().incr('n').zAdd('z', { value: 'm', score: 1.5 }).zScore('z', 'm').get('none').exec();
            assert.deepEqual(replies, [1, 1, 1.5, null]);
            const failed = redis.multi().incr('n').lPush('n', 'x').incr('n');
            await assert.rejects(failed.exec(), (error) => {
                assert.deepEqual(error.replies.map((reply) => reply?.message ?? reply).map(String).map((r) => r.split(' ')[0]), ['2', 'WRONGTYPE', '3']);
                assert.deepEqual(error.errorIndexes, [1]);
                return true;
            });
            await assert.rejects(redis.multi().incr('n').addCommand(['NOSUCH']).exec(), /unknown command/);
            assert.equal(await redis.get('n'), '3');
        });

        test('a watched key that another changes ends the transaction', async () => {
            const other = await open();
            await redis.watch('n');
            await other.set('n', '1');
            await assert.rejects(redis.multi().set('n', '2').exec(), WatchError);
            assert.equal(await redis.get('n'), '1');
            await redis.watch('n');
            assert.deepEqual(await redis.multi().set('n', '2').exec(), ['OK']);
            await redis.watch('n');
            await redis.unwatch();
            await other.set('n', '3');
            assert.deepEqual(await redis.multi().get('n').exec(), ['3']);
        });

        test('publish and subscribe', async () => {
            const listener = await open();
            const got = [];
            await listener.subscribe(['a', 'b'], (message, channel) => got.push([channel, message]));
            await listener.pSubscribe('p*', (message, channel) => got.push([channel, message]));
            await listener.sSubscribe('shard', (message, channel) => got.push([channel, message]));
            assert.equal(await redis.publish('a', 'one'), 1);
            assert.equal(await redis.publish('px', 'two'), 1);
            assert.equal(await redis.sPublish('shard', 'three'), 1);
            assert.equal(await redis.publish('none', 'x'), 0);
            await eventually(() => got.length === 3);
            assert.deepEqual(got, [['a', 'one'], ['px', 'two'], ['shard', 'three']]);
            assert.deepEqual((await redis.pubSubChannels()).sort(), ['a', 'b']);
            assert.deepEqual({ ...(await redis.pubSubNumSub(['a', 'none'])) }, { a: 1, none: 0 });
            assert.equal(await redis.pubSubNumPat(), 1);
            await listener.unsubscribe('a');
            assert.equal(await redis.publish('a', 'four'), 0);
            await listener.unsubscribe();
            await listener.pUnsubscribe();
            await listener.sUnsubscribe();
            // It gives the bytes over RESP2 here, with Redis too.
            assert.equal(String(await listener.ping()), 'PONG');
            const bytes = [];
            await listener.subscribe('bytes', (message) => bytes.push(message), true);
            await redis.publish('bytes', Buffer.from([0, 255]));
            await eventually(() => bytes.length === 1);
            assert.deepEqual(bytes, [Buffer.from([0, 255])]);
        });

        test('a subscribed connection of RESP3 takes commands as well', async () => {
            if (protocol === 2) return;
            const got = [];
            await redis.subscribe('here', (message) => got.push(message));
            const replies = await Promise.all([redis.publish('here', 'x'), redis.rPush('l', 'message'), redis.lRange('l', 0, -1)]);
            assert.deepEqual(replies, [1, 1, ['message']]);
            await eventually(() => got.length === 1);
            assert.deepEqual(got, ['x']);
        });

        test('a change of a key is told to who asked for it', async () => {
            const listener = await open();
            const got = [];
            await redis.configSet('notify-keyspace-events', 'KEA');
            await listener.pSubscribe('__key*__:*', (message, channel) => got.push([channel, message]));
            await redis.set('k', 'v');
            await eventually(() => got.length === 2);
            assert.deepEqual(got, [['__keyspace@0__:k', 'set'], ['__keyevent@0__:set', 'k']]);
            await redis.configSet('notify-keyspace-events', '');
        });

        test('blocking pops wait, and give what comes', async () => {
            const waiter = await open();
            const blocked = (count) => eventually(async () => fields(await redis.info('clients')).blocked_clients === String(count));
            const cases = [
                [() => waiter.blPop(['none', 'l'], 20), () => redis.rPush('l', 'x'), { key: 'l', element: 'x' }],
                [() => waiter.brPop('l', 20), () => redis.rPush('l', ['x', 'y']), { key: 'l', element: 'y' }],
                [() => waiter.blMove('none', 'm', 'LEFT', 'RIGHT', 20), () => redis.rPush('none', 'x'), 'x'],
                [() => waiter.blmPop(20, ['n'], 'LEFT', { COUNT: 2 }), () => redis.rPush('n', ['x', 'y', 'z']), ['n', ['x', 'y']]],
                [() => waiter.bzPopMin(['z'], 20), () => redis.zAdd('z', { value: 'm', score: 1.5 }), { key: 'z', value: 'm', score: 1.5 }],
                [() => waiter.bzmPop(20, ['z'], 'MAX'), () => redis.zAdd('z', { value: 'n', score: 2 }), { key: 'z', members: [{ value: 'n', score: 2 }] }],
            ];
            for (const [wait, give, expected] of cases) {
                const waiting = wait();
                await blocked(1);
                await give();
                assert.deepEqual(await waiting, expected);
            }
            assert.equal(await waiter.blPop('none', 0.01), null);
            assert.equal(await waiter.blMove('none', 'm', 'LEFT', 'RIGHT', 0.01), null);
            assert.equal(await waiter.bzPopMax('none', 0.01), null);
            const gone = waiter.blPop('l2', 0);
            await blocked(1);
            waiter.destroy();
            await assert.rejects(gone);
            await blocked(0);
            assert.equal(await redis.rPush('l2', 'kept'), 1);
            assert.equal(await redis.lLen('l2'), 1);
        });

        test('scan iterators see every key, field and member once', async () => {
            const names = Array.from({ length: 500 }, (_, i) => `k${String(i).padStart(3, '0')}`);
            await redis.mSet(names.map((name) => [name, 'v']));
            await redis.hSet('hash', Object.fromEntries(names.map((name) => [name, 'v'])));
            await redis.sAdd('set', names);
            await redis.zAdd('zset', names.map((value, score) => ({ value, score })));
            const all = async (iterator) => (await collect(iterator)).flat();
            assert.deepEqual((await all(redis.scanIterator({ MATCH: 'k*', COUNT: 37 }))).sort(), names);
            assert.deepEqual(await all(redis.scanIterator({ TYPE: 'hash' })), ['hash']);
            const hash = await all(redis.hScanIterator('hash', { COUNT: 50 }));
            assert.deepEqual(hash.map(({ field }) => field).sort(), names);
            assert.deepEqual((await all(redis.sScanIterator('set', { COUNT: 50 }))).sort(), names);
            const scored = await all(redis.zScanIterator('zset', { COUNT: 50 }));
            assert.deepEqual(scored.sort((a, b) => a.score - b.score), names.map((value, score) => ({ value, score })));
        });

        test('deadlines', async () => {
            await redis.set('soon', 'v', { expiration: { type: 'PX', value: 30 } });
            await eventually(async () => (await redis.exists('soon')) === 0);
            await redis.setEx('k', 100, 'v');
            assert.ok([99, 100].includes(await redis.ttl('k')));
            assert.equal(await redis.expire('k', 50, 'GT'), 0);
            assert.equal(await redis.expireAt('k', new Date(4_102_444_800_000)), 1);
            assert.equal(await redis.expireTime('k'), 4_102_444_800);
            assert.equal(await redis.getEx('k', { type: 'PERSIST' }), 'v');
            assert.equal(await redis.pTTL('k'), -1);
            assert.equal(await redis.ttl('none'), -2);
        });

        test('keys', async () => {
            await redis.mSet({ a: '1', b: '2' });
            assert.equal(await redis.copy('a', 'c'), 1);
            assert.equal(await redis.rename('c', 'd'), 'OK');
            assert.equal(await redis.renameNX('d', 'a'), 0);
            await assert.rejects(redis.rename('none', 'x'), { message: 'ERR no such key' });
            assert.deepEqual((await redis.keys('*')).sort(), ['a', 'b', 'd']);
            assert.equal(await redis.type('a'), 'string');
            assert.equal(await redis.objectEncoding('a'), 'int');
            assert.equal(await redis.unlink(['a', 'b', 'none']), 2);
            assert.equal(await redis.dbSize(), 1);
            await redis.rPush('l', ['3', '1', '2']);
            assert.deepEqual(await redis.sort('l', { DIRECTION: 'DESC' }), ['3', '2', '1']);
        });

        test('facts about the server', async () => {
            const info = fields(await redis.info());
            assert.equal(info.redis_version, '7.0.15');
            assert.equal(info.loading, '0');
            assert.equal(info.role, 'master');
            assert.equal((await redis.configGet('maxmemory*')).maxmemory, '0');
            assert.equal((await redis.time()).length, 2);
            assert.equal((await redis.commandInfo(['get']))[0].name, 'get');
            assert.ok((await redis.commandCount()) > 150);
            assert.ok((await redis.command()).some(({ name, arity }) => name === 'blpop' && arity === -3));
            assert.equal((await redis.role()).role, 'master');
            assert.equal((await redis.clientList()).length, 1);
            if (protocol === 3) {
                const raw = await redis.withTypeMapping({ [RESP_TYPES.VERBATIM_STRING]: VerbatimString }).info('server');
                assert.ok(raw instanceof VerbatimString);
                assert.equal(raw.format, 'txt');
            }
        });

        test('after a SIGKILL it connects again, and what was acknowledged is there', async () => {
            let acknowledged = 0;
            for (let round = 0; round < 3; round += 1) {
                const pushes = Array.from({ length: 200 }, () =>
                    redis.rPush('kept', 'x').then(() => { acknowledged += 1; }, () => {}),
                );
                await eventually(() => acknowledged > round * 50);
                await agq.restart();
                await Promise.all(pushes);
                await eventually(() => redis.ping().then(() => true, () => false));
            }
            const length = await redis.lLen('kept');
            assert.ok(length >= acknowledged, `${length} of ${acknowledged}`);
        });

        test('a worker that knows only lists and strings runs a job', async () => {
            const plan = await redis.sendCommand(['PLAN.SUBMIT', PLAN]);
            await redis.sendCommand(['ACTION.SUBMIT', JSON.stringify({ plan_id: plan, inputs: [{ name: 'you' }] })]);
            const worker = await open();
            await worker.set('worker:w:tools', 'echo');
            const job = await worker.brPopLPush('queue:ready', 'queue:processing', 20);
            assert.equal(JSON.parse(await worker.get(`job:${job}`)).status, 'running');
            await worker.set(`job:${job}:stdout`, 'you\n');
            await worker.set(`job:${job}:status`, 'completed');
            assert.equal(await worker.lRem('queue:processing', 1, job), 1);
            assert.equal(await redis.get(`job:${job}:status`), 'completed');
            assert.equal(await redis.get(`job:${job}:stdout`), 'you\n');
        });
    });
}

async function collect(iterator) {
    const found = [];
    for await (const item of iterator) found.push(item);
    return found;
}
