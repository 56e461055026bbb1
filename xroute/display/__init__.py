"""How objects show themselves: in a terminal as text, in a notebook as HTML that folds, both made of the same facts."""
