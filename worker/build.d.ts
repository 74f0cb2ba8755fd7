/**
 * File name of the built worker, `worker-<hash>.js`; the build puts it in wherever this name stands in
 * `client/` and `server/`. In tests it is `worker-test.js`.
 */
declare const __WEBGRAM_WORKER_FILE__: string;

/** File name of what a script tag loads where a tab has to be the host, `leader-tab-<hash>.js`. */
declare const __WEBGRAM_LEADER_FILE__: string;

/** File name of what a worker loads to keep durable messages, `queue-<hash>.js`. */
declare const __WEBGRAM_QUEUE_FILE__: string;
