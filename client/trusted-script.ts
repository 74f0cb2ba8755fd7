/** Trusted Types, with the policy of this library in them, whichever copy of it has made that. */
interface TrustedTypes {
  webgram?: Policy;
  createPolicy(name: string, rules: Policy): Policy;
}

interface Policy {
  createScriptURL(address: string | URL): string | URL;
}

/** Where the worker is that this page looks for. */
let folder: string;

/**
 * Returns the address of a worker's script as `new SharedWorker` takes it in a page with `require-trusted-types-for`.
 *
 * The one policy is made when it is needed first. Its name can be taken only once, so all copies of the library in a page
 * share it. It lets nothing through but the folder in which the copy that has made it looks for its own worker; what it
 * does not, or a page that does not allow it, is left to the browser.
 *
 * @param own Where that is.
 * @see https://w3c.github.io/trusted-types/dist/spec/
 */
export function trusted(script: string | URL, own: URL): string | URL {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  folder = folderOf(own);
  try {
    const policy = (trustedTypes!.webgram ??= trustedTypes!.createPolicy('webgram', {
      createScriptURL(address) {
        if (folderOf(address) === folder) return address;
        throw new Error();
      },
    }));
    return policy.createScriptURL(script);
  } catch {
    // Where there are no Trusted Types as well.
    return script;
  }
}

function folderOf(script: string | URL): string {
  return new URL('.', script).href;
}
