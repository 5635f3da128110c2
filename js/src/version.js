/** The version of the package, which is also that of the Python package. */
export const version = "0.1.0";
