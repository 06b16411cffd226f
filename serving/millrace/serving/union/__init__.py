"""Union APIs: several APIs in one call, side by side or one after the other."""
