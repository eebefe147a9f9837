// A view that breaks says so and leaves the others alone.
import { Component, type ComponentChildren, type JSX } from "preact";

export class Boundary extends Component<{ name: string; children: ComponentChildren }, { fault: string | null }> {
  override state = { fault: null };

  static override getDerivedStateFromError(error: unknown): { fault: string } {
    return { fault: error instanceof Error ? error.message : String(error) };
  }

  override componentDidCatch(error: unknown): void {
    reportError(error); // in the console too: a fault of ours must not pass in silence
  }

  override render(): JSX.Element {
    if (this.state.fault !== null) return <p class="warning" role="alert">{this.props.name} cannot be shown: {this.state.fault}</p>;
    return <>{this.props.children}</>;
  }
}
