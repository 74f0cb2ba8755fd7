import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** How many functions are named. */
const TOP = 24;

/** What V8 has noted. */
interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

/** Names the functions that took most of each server's time by themselves. @param folder Of their profiles. */
export async function costsOf(folder: string): Promise<string> {
  const texts: string[] = [];
  for (const file of await readdir(folder)) {
    const profile = JSON.parse(await readFile(path.join(folder, file), 'utf8')) as Profile;
    texts.push(`${path.parse(file).name}: own time of the server\n${top(profile)}`);
  }
  return texts.join('\n');
}

function top({ nodes, samples, timeDeltas }: Profile): string {
  const nameOf = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      `${functionName || '(anonymous)'} ${path.basename(url)}:${lineNumber + 1}`,
    ]),
  );
  const own = new Map<string, number>();
  let busy = 0;
  for (const [i, id] of samples.entries()) {
    const name = nameOf.get(id)!;
    if (name.startsWith('(idle)')) continue;
    const delta = timeDeltas[i]!;
    busy += delta;
    own.set(name, (own.get(name) ?? 0) + delta);
  }
  return [...own]
    .sort(([, a], [, b]) => b - a)
    .slice(0, TOP)
    .map(([name, time]) => `  ${((100 * time) / busy).toFixed(1).padStart(5)} %  ${name}`)
    .join('\n');
}
