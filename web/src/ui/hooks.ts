// Hooks for what arrives later, and for sizes.
import { useEffect, useRef, useState } from "preact/hooks";
import type { RefObject } from "preact";

export interface Loaded<T> { value: T | null; error: string | null; fresh: boolean }

// Load something; while the next is on its way, the last one stays, so that nothing flickers.
export function useLoaded<T>(load: () => Promise<T> | null, needs: readonly unknown[]): Loaded<T> {
  const [loaded, set] = useState<Loaded<T>>({ value: null, error: null, fresh: false });
  useEffect(() => {
    let wanted = true;
    const promise = load();
    if (!promise) return undefined;
    set((now) => (now.fresh ? { ...now, fresh: false } : now));
    promise.then((value) => { if (wanted) set({ value, error: null, fresh: true }); },
      (error: unknown) => { if (wanted) set({ value: null, error: error instanceof Error ? error.message : String(error), fresh: true }); });
    return () => { wanted = false; };
  }, needs);
  return loaded;
}

// Paint a canvas after every change of `needs`, and whenever its width changes.
export function usePaint(paint: (canvas: HTMLCanvasElement, width: number) => void, needs: readonly unknown[]): RefObject<HTMLCanvasElement | null> {
  const ref = useRef<HTMLCanvasElement>(null);
  const width = useWidth(ref);
  useEffect(() => { if (ref.current && width > 0) paint(ref.current, width); }, [...needs, width]);
  return ref;
}

// The width in CSS pixels that an element's parent offers.
export function useWidth(ref: RefObject<HTMLElement | null>): number {
  const [width, set] = useState(0);
  useEffect(() => {
    const parent = ref.current?.parentElement;
    if (!parent) return undefined;
    const measure = () => {
      const style = getComputedStyle(parent);
      set(Math.max(0, Math.floor(parent.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight))));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(parent);
    return () => observer.disconnect();
  }, []);
  return width;
}
