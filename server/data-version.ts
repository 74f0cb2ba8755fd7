import { decodeJson, encodeJson, WebgramError } from 'webgram';

/** Which shape `sessionData` has, and how an older one is brought to it. */
export interface DataVersion {
  /** Version that this application writes, an integer from 1. Default 1. */
  dataVersion: number;
  /**
   * Brings data of an older version to the present one, when a session is loaded. May change `old` and return it.
   * Stored with the next save.
   */
  upgradeData: ((old: Record<string, unknown>, from: number) => object | PromiseLike<object>) | undefined;
}

/** Returns what is stored: the version, a colon, and the data as JSON. */
export function toDataRow(text: string, version: number): string {
  return `${version}:${text}`;
}

/** Data as JSON of the present version. */
interface PresentData {
  /** `undefined` when nothing was ever saved. */
  text: string | undefined;
  /** It differs from what the row holds. */
  isUpgraded: boolean;
}

/**
 * Returns the data of a row in the present version.
 *
 * @throws {WebgramError} `WEBGRAM_DATA_NEWER` when a newer application has written it: data is never downgraded.
 */
export async function fromDataRow(
  row: string | undefined,
  { dataVersion, upgradeData }: DataVersion,
): Promise<PresentData> {
  if (row === undefined) return { text: undefined, isUpgraded: false };
  const colon = row.indexOf(':');
  const version = Number(row.slice(0, colon));
  if (colon < 1 || !Number.isSafeInteger(version)) {
    throw new WebgramError('WEBGRAM_STORE_CORRUPT', 'a data row must begin with a version');
  }
  const text = row.slice(colon + 1);
  if (version > dataVersion) {
    throw new WebgramError(
      'WEBGRAM_DATA_NEWER',
      `sessionData has version ${version}, this application knows ${dataVersion}: start the newer one`,
    );
  }
  if (version === dataVersion || upgradeData === undefined) return { text, isUpgraded: false };
  const upgraded = await upgradeData(decodeJson(text) as Record<string, unknown>, version);
  return { text: encodeJson({ ...upgraded }), isUpgraded: true };
}
