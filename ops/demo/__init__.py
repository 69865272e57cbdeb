"""``./notify demo``: the main job, shown step by step on the development sandbox, and each step proven.

============  ================================================================
``command``   refuse what must not be touched, then play all steps
``system``    the running system, or one started for the demo alone
``steps``     what happens when all is well, or one message is not
``outage``    what happens when a mail server is down
``stage``     what a step can do and see, and how long it waits
``services``  the gateway and the sandbox, over HTTP
``copies``    a message put straight onto its queue
============  ================================================================
"""
