//! The DNS process: getaddrinfo for all the others. Holds no key and no listener.
