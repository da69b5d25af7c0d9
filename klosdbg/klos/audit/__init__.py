"""Whether everything about DSOS agrees: tables, patch sites, contexts, applications' memory."""
