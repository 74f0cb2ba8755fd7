import { svg, html } from 'lit';
import type { TemplateResult } from 'lit';

/** @param shape Drawn with a line of 1.75 in a square of 24. */
function icon(shape: TemplateResult): TemplateResult {
  return html`<svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${shape}</svg>`;
}

/** Drawings; words stand beside them or in the labels of their buttons. */
export const icons = {
  add: icon(svg`<path d="M12 5v14M5 12h14" />`),
  check: icon(svg`<path d="m5 12.5 4.5 4.5L19 7.5" />`),
  close: icon(svg`<path d="M6 6l12 12M18 6L6 18" />`),
  desktop: icon(svg`<rect x="3" y="4" width="18" height="12" rx="2" /><path d="M8 20h8M12 16v4" />`),
  more: icon(svg`<path class="dots" d="M5 12h.01M12 12h.01M19 12h.01" />`),
  offline: icon(
    svg`<path d="M3 3l18 18M8.5 15.5a5 5 0 0 1 7 0M5 12a10 10 0 0 1 4-2.4M19 12a10 10 0 0 0-6-2.9M12 19h.01" />`,
  ),
  pen: icon(svg`<path d="M4 20l1-4.5L16.5 4a1.8 1.8 0 0 1 2.6 0l.9.9a1.8 1.8 0 0 1 0 2.6L8.5 19z" />`),
  person: icon(svg`<circle cx="12" cy="8.5" r="3.750" /><path d="M4.5 20a7.5 7.5 0 0 1 15 0" />`),
  phone: icon(svg`<rect x="7" y="2.5" width="10" height="19" rx="2.250" /><path d="M11 18.5h2" />`),
  pin: icon(svg`<path d="M9 3.5h6M10 3.5v6L7 13v1.5h10V13l-3-3.5v-6M12 14.5v6" />`),
  signOut: icon(
    svg`<path class="turns" d="M10 4H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h4M15 8l4 4-4 4M19 12H9" />`,
  ),
  warning: icon(svg`<circle cx="12" cy="12" r="9" /><path d="M12 7.5v5.5M12 16.5h.01" />`),
};
