export function explore() {}
