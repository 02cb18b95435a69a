"""How good searchers are, trial by trial and image by image; without Ray, so that nothing but the searcher differs."""
