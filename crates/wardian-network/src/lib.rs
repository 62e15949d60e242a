//! Makes the kernel match a network plan; DHCP and DNS live here
