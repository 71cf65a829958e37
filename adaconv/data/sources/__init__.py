"""One module per source of data; :mod:`adaconv.data.registry` finds those in this folder."""
